"""Who calls: API keys, checked before a call reaches the service; else certificates, else addresses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import grpc
from grpc_health.v1 import health

from antiphon.errors import AntiphonError, ProtocolError
from antiphon_cloud.api_keys import ApiKeys
from antiphon_cloud.clients import Allowance, Client
from antiphon_cloud.metrics import Metrics
from antiphon_cloud.statuses import Context, abort

HEADER = "authorization"
SCHEME = "bearer"
OPEN_TO_ALL = f"/{health.SERVICE_NAME}/"  # load balancers and probes have no key, and learn nothing but up or down

_authenticated: ContextVar[Client | None] = ContextVar("authenticated", default=None)

if TYPE_CHECKING:  # grpc's class is no generic when it runs
    Handler = grpc.RpcMethodHandler[Any, Any] | None  # None: there is no such method
    Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]


class ApiKeyInterceptor(grpc.aio.ServerInterceptor):
    """Lets calls through that carry a known key; the service then finds its owner with `caller`."""

    def __init__(self, keys: ApiKeys, metrics: Metrics) -> None:
        self._keys = keys
        self._metrics = metrics

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        """The method's handler, or one that refuses."""
        details: Any = handler_call_details
        if not details.method.startswith(OPEN_TO_ALL):
            try:
                _authenticated.set(self._keys.client(_bearer(details.invocation_metadata)))
            except AntiphonError as error:
                self._metrics.refused("unauthenticated")
                return _refusing(error)
        return await continuation(handler_call_details)


def caller(context: Context, default: Allowance) -> Client:
    """Who opened the call.

    Args:
        context: of the call.
        default: what clients may have who present no API key.
    """
    if (client := _authenticated.get()) is not None:
        return client
    if identities := context.peer_identities():
        return Client(f"the certificate of {b', '.join(identities).decode(errors='replace')}", default, proven=True)
    return Client(f"the address {unquote(context.peer()).rpartition(':')[0]}", default)


def _bearer(metadata: Any) -> str | None:
    """The key of `authorization: Bearer KEY`; None where there is none."""
    values = [value for name, value in metadata if name == HEADER]
    if not values:
        return None
    scheme, _, key = str(values[0]).partition(" ")
    if len(values) > 1 or scheme.lower() != SCHEME:
        raise ProtocolError(f"{HEADER}: expected one `Bearer KEY`")
    return key.strip()


def _refusing(error: AntiphonError) -> Handler:
    """A handler that ends the call with the error's status, whatever the method takes and gives."""

    async def refuse(requests: Any, context: Context) -> None:
        await abort(context, error)

    return grpc.stream_stream_rpc_method_handler(refuse)
