"""The door's routes: the WebSocket, tokens for browsers, and what clients ask before they connect."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import web

from antiphon.errors import AntiphonError, PermissionDeniedError
from antiphon_gateway.access.admission import bearer
from antiphon_gateway.access.tokens import LONGEST_S, PREFIX
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.doors.realtime.connection import Connection
from antiphon_gateway.doors.realtime.dialect import SUBPROTOCOL, key_of, spoken, subprotocols
from antiphon_gateway.doors.realtime.errors import error_event
from antiphon_gateway.doors.realtime.settings import Settings
from antiphon_gateway.doors.requests import admitted
from antiphon_gateway.doors.socket import open_socket
from antiphon_gateway.errors import MessageError

PATH = "/v1/realtime"
MESSAGE_BYTES = 4 << 20  # a minute of PCM in base64


def routes(gateway: Gateway) -> list[web.RouteDef]:
    """The door's."""

    async def converse(request: web.Request) -> web.StreamResponse:
        offered = subprotocols(request.headers)
        visitor = admitted(gateway, request, key_of(offered))
        dialect = spoken(request.headers, offered)
        duplex = request.query.get("duplex") == "1"
        async with open_socket(gateway, request, (SUBPROTOCOL,), MESSAGE_BYTES) as (socket, response):
            try:
                fleet = gateway.need(gateway.dialogue, "a dialogue")
                await Connection(gateway, visitor, fleet, socket, dialect, duplex).run()
            except AntiphonError as error:
                with suppress(AntiphonError, ConnectionError):
                    await socket.send_json(error_event(error))
                await socket.close(error)
        return response

    async def client_secrets(request: web.Request) -> web.StreamResponse:
        visitor = admitted(gateway, request)
        if (bearer(request.headers) or "").startswith(PREFIX):
            raise PermissionDeniedError("a token is not made with a token: give an API key")
        asked = _object(await request.read())
        settings, lifetime_s = asked.get("session") or {}, _lifetime_s(asked)
        shown = Settings().updated(settings)  # a mistake is better told now
        token, expires_s = gateway.access.tokens.issue(visitor, settings, lifetime_s)
        model = gateway.dialogue.model.name if gateway.dialogue else ""
        told = shown.told(spoken({}, ()), "", model)
        return web.json_response({"value": token, "expires_at": int(expires_s), "session": told})

    async def health(request: web.Request) -> web.StreamResponse:
        """As Unmute's page asks for it."""
        up = gateway.dialogue is not None and not gateway.capacity.draining
        told = {"ok": up, "tts_up": up, "stt_up": up, "llm_up": up, "voice_cloning_up": False}
        return web.json_response(told)

    async def voices(request: web.Request) -> web.StreamResponse:
        """The same of voices."""
        names = gateway.dialogue.voices if gateway.dialogue else ()
        source = {"source_type": "file", "description": None, "description_link": None}
        return web.json_response([{"name": name, "source": source | {"path_on_server": name}} for name in names])

    async def models(request: web.Request) -> web.StreamResponse:
        """The models that a session may have, of which there is one."""
        names = [gateway.dialogue.model.name] if gateway.dialogue else []
        told = [{"id": name, "object": "model", "created": 0, "owned_by": "antiphon"} for name in names]
        return web.json_response({"object": "list", "data": told})

    return [
        web.get(PATH, converse),
        web.post(f"{PATH}/client_secrets", client_secrets),
        web.get("/v1/health", health),
        web.get("/v1/voices", voices),
        web.get("/v1/models", models),
    ]


def _object(data: bytes) -> dict[str, Any]:
    """The JSON object of a request's body, or none.

    Raises:
        MessageError: it is none.
    """
    try:
        return msgspec.json.decode(data or b"{}", type=dict[str, Any])
    except ValueError:  # msgspec's errors are ValueErrors
        raise MessageError("the request's body is no JSON object") from None


def _lifetime_s(asked: dict[str, Any]) -> float:
    after = asked.get("expires_after") or {}
    seconds = after.get("seconds", LONGEST_S) if isinstance(after, dict) else None
    if not isinstance(seconds, int | float) or not seconds > 0:
        raise MessageError(f"expires_after.seconds: expected a number of more than 0; at most {LONGEST_S:g} are given")
    return float(seconds)
