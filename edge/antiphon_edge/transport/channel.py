"""A channel to a worker: TLS, API key, and gRPC's errors as Antiphon's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from antiphon.channel import FLOW_CONTROL, KEEPALIVE
from antiphon.errors import AntiphonError, UnavailableError, from_status
from antiphon.plain_text import plain_line
from antiphon.tls import is_loopback
from antiphon.to_the_end import to_the_end
from antiphon.v1 import dialogue_pb2 as pb
from antiphon.v1 import dialogue_pb2_grpc
from antiphon_edge.errors import CredentialsError
from antiphon_edge.transport.credentials import PLAINTEXT, Credentials
from antiphon_edge.transport.grpc_workarounds import (
    FRESH_CHANNEL,
    ChannelWithMetadata,
    Operations,
    connect_channel,
)
from antiphon_edge.transport.proxy import DIRECT, find_proxy, may_use_proxy

CHANNEL_OPTIONS = (FRESH_CHANNEL, *KEEPALIVE, *FLOW_CONTROL)
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
        connecting = operations.watch(asyncio.ensure_future(connect_channel(channel)))
        await asyncio.wait((connecting,), timeout=timeout_s)
        stub = dialogue_pb2_grpc.DialogueServiceStub(ChannelWithMetadata(channel, credentials.metadata, operations))
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


async def _refusal(
    stub: dialogue_pb2_grpc.DialogueServiceStub, address: str, credentials: Credentials
) -> AntiphonError:
    """Why the channel could not be connected, as one sentence: a call asks, since the channel does not say."""
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
    advice = "check the address, and that antiphon-cloud serve runs there"
    return UnavailableError(f"no worker answers at {address}: {advice}{_to_install(address)}")


def _to_install(address: str) -> str:
    """What brings a worker and a model to this machine, if the address is here and they are not."""
    here = all(map(find_spec, ("antiphon_cloud", "antiphon_number_clerk")))
    if here or not is_loopback(address):
        return ""
    return " (pip install antiphon-cloud antiphon-number-clerk brings one)"


def translate(error: grpc.aio.AioRpcError, address: str) -> AntiphonError:
    """The error that a failed call stands for, with the worker's retry time where it gives one."""
    message = plain_line(error.details() or "") or f"the call to {address} failed without a reason"
    retry_after_s, reason = None, None
    rich = rpc_status.from_call(error)
    for detail in rich.details if rich else ():
        retry, info = error_details_pb2.RetryInfo(), error_details_pb2.ErrorInfo()
        if detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
        elif detail.Unpack(info):
            reason = info.reason
    if error.code() in LOST and rich is None:  # not the worker's own words
        return UnavailableError(f"lost the worker at {address}: {message}")
    return from_status(error.code().name, message, retry_after_s, reason)
