"""A channel to a worker: TLS, API key, and gRPC's errors as Antiphon's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from antiphon.channel import FLOW_CONTROL, KEEPALIVE
from antiphon.errors import AntiphonError, UnavailableError, from_status
from antiphon.plain_text import plain_line
from antiphon.v1 import dialogue_pb2 as pb
from antiphon.v1 import dialogue_pb2_grpc
from antiphon_edge.errors import CredentialsError
from antiphon_edge.transport.credentials import PLAINTEXT, Credentials, Metadata
from antiphon_edge.transport.operations import Operations
from antiphon_edge.transport.proxy import DIRECT, find_proxy, may_use_proxy
from antiphon_edge.transport.to_the_end import to_the_end

CHANNEL_OPTIONS = (
    # A new channel tries at once, whatever an earlier one to the same address has been waiting for.
    ("grpc.use_local_subchannel_pool", 1),
    *KEEPALIVE,
    *FLOW_CONTROL,
)
CONNECT_TIMEOUT_S = 10.0
REASON_TIMEOUT_S = 2.0

# How the network, a proxy or a dying process ends a call: a worker's own words come with details.
LOST = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.INTERNAL,  # RST_STREAM, as proxies make of a worker that was killed
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}

# What gRPC says of a connection that failed, and what it means; the first that fits.
REASONS = (
    ("certificate has expired", "its certificate has expired: renew it on the worker, and check this machine's clock"),
    ("certificate is not yet valid", "its certificate is not valid yet: check this machine's clock, and the worker's"),
    ("Hostname Verification", "its certificate is for another name: connect to a name that the certificate lists"),
    ("CERTIFICATE_VERIFY_FAILED", "an authority that is not trusted here signed its certificate: give it as `ca`"),
    (
        "WRONG_VERSION_NUMBER",
        "it does not speak TLS: start antiphon-cloud serve with --tls-cert and --tls-key, or leave out `tls`",
    ),
)


@asynccontextmanager
async def open_channel(
    address: str, credentials: Credentials = PLAINTEXT, timeout_s: float = CONNECT_TIMEOUT_S
) -> AsyncIterator[dialogue_pb2_grpc.DialogueServiceStub]:
    """A connected stub, with gRPC's errors translated to Antiphon's.

    Raises:
        CredentialsError: TLS fails for a reason that trying again does not mend, or plaintext would leave this machine.
        CertificateError: a file of `credentials` cannot be used.
        UnavailableError: nobody answers at `address`.
        AntiphonError: whatever status a call on it ended with.
    """
    credentials.check(address)
    channel = _channel(address, credentials)
    operations = Operations()
    try:
        connecting = operations.watch(asyncio.ensure_future(_connected(channel)))
        await asyncio.wait((connecting,), timeout=timeout_s)
        stub = dialogue_pb2_grpc.DialogueServiceStub(_Calls(channel, credentials.metadata, operations))
        if not (connecting.done() and connecting.result()):
            raise await _refusal(stub, address, credentials)
        try:
            yield stub
        except grpc.aio.AioRpcError as error:
            raise translate(error, address) from None
    finally:
        await to_the_end(_close(channel, operations))


def _channel(address: str, credentials: Credentials) -> grpc.aio.Channel:
    """The one place where a channel to a worker is made."""
    options = CHANNEL_OPTIONS if may_use_proxy(address, credentials.tls) else (*CHANNEL_OPTIONS, *DIRECT)
    if tls := credentials.channel_credentials():
        return grpc.aio.secure_channel(address, tls, options=options)
    return grpc.aio.insecure_channel(address, options=options)


async def _close(channel: grpc.aio.Channel, operations: Operations) -> None:
    await channel.close()
    await operations.ended()


class _Calls:
    """A channel whose calls all carry `metadata`, in the shape that the generated stub takes.

    gRPC's own call credentials would not do: they refuse plaintext, which is fine on loopback.
    """

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata, operations: Operations) -> None:
        self._channel = channel
        self._metadata = metadata
        self._operations = operations

    def __getattr__(self, arity: str) -> Any:
        make = getattr(self._channel, arity)  # unary_unary, stream_stream, ...

        def with_metadata(*args: Any, **kwargs: Any) -> Callable[..., Any]:
            return partial(self._operations.start, partial(make(*args, **kwargs), metadata=self._metadata))

        return with_metadata


async def _connected(channel: grpc.aio.Channel) -> bool:
    """Waits for the channel; False as soon as the connection is refused, rather than tried again."""
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
            return False
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)
    return True


async def _refusal(
    stub: dialogue_pb2_grpc.DialogueServiceStub, address: str, credentials: Credentials
) -> AntiphonError:
    """Why the channel could not be connected, as one sentence: only a call is told."""
    reason = ""
    try:
        await stub.GetModel(pb.GetModelRequest(), timeout=REASON_TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        reason = error.details() or ""
    for words, meaning in REASONS:
        if words in reason:
            return CredentialsError(f"no safe connection to the worker at {address}: {meaning}")
    if "Socket closed" in reason:
        likely = "for a client certificate (`client_cert`)" if credentials.tls else "for TLS (`tls`)"
        return UnavailableError(f"the worker at {address} closed the connection: it may ask {likely}")
    if proxy := find_proxy(address, credentials.tls):
        return UnavailableError(
            f"no worker answers at {address} through {proxy}: check both, or name the worker's host in no_proxy"
        )
    return UnavailableError(
        f"no worker answers at {address}: check the address, and that antiphon-cloud serve runs there"
    )


def translate(error: grpc.aio.AioRpcError, address: str) -> AntiphonError:
    """The error that a failed call stands for, with the worker's retry time where it gives one."""
    message = plain_line(error.details() or "") or f"the call to {address} failed without a reason"
    retry_after_s = None
    rich = rpc_status.from_call(error)
    for detail in rich.details if rich else ():
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            retry_after_s = info.retry_delay.ToTimedelta().total_seconds()
    if error.code() in LOST and rich is None:  # not the worker's own words
        return UnavailableError(f"lost the worker at {address}: {message}")
    return from_status(error.code().name, message, retry_after_s)
