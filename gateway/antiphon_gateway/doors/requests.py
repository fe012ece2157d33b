"""An HTTP request at a door: who makes it, and what a failed one is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from antiphon.errors import AntiphonError, NoFreeSlotError
from antiphon_gateway.access.visitor import Visitor
from antiphon_gateway.calls.record import GATE
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.doors.socket import http_status

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def admitted(gateway: Gateway, request: web.Request, *keys: str | None) -> Visitor:
    """The visitor who makes a request.

    Args:
        gateway: knows who may.
        request: to a door.
        keys: what the client gives for a key in other places than `Authorization: Bearer KEY`.

    Raises:
        UnauthenticatedError: a key is needed, and it gives none that is known.
        PermissionDeniedError: its page is another site's.
        NoFreeSlotError: the client makes too many requests.
    """
    remote = request.remote or "unknown"
    try:
        return gateway.access.admit(remote, request.headers, keys)
    except AntiphonError as error:
        gateway.watch.refused(GATE, f"the address {remote}", error.status)
        raise


@web.middleware
async def sentences(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers a request that fails with its status and one sentence of JSON."""
    try:
        return await handler(request)
    except ConnectionError:  # the client has gone: nobody reads this
        return web.Response(status=HTTPStatus.BAD_REQUEST)
    except AntiphonError as error:
        headers = {"Retry-After": f"{error.retry_after_s:.0f}"} if isinstance(error, NoFreeSlotError) else {}
        told = {"error": {"message": str(error), "type": error.status.lower()}}
        return web.json_response(told, status=http_status(error), headers=headers)
