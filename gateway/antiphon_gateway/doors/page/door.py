"""The page's routes: what it asks the gateway for, for a dialogue and for the transcript of what the person says."""

from __future__ import annotations

from aiohttp import web

from antiphon.codec_manifest import MANIFEST_FILE
from antiphon_gateway.calls.passage import ask_model
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.doors.page import frames
from antiphon_gateway.doors.requests import Handler, admitted

PROTOBUF = "application/x-protobuf"
TRANSCRIBER = "Antiphon-Transcriber"
FOR_EVER = "public, max-age=31536000, immutable"


def routes(gateway: Gateway) -> list[web.RouteDef]:
    """The door's."""
    return [
        *_routes(gateway, "/v1", lambda: gateway.need(gateway.dialogue, "a dialogue")),
        *_routes(gateway, "/v1/transcriber", lambda: gateway.need(gateway.transcription, "transcripts")),
    ]


def _routes(gateway: Gateway, prefix: str, find: frames.Find) -> list[web.RouteDef]:
    """The routes of one fleet: what it serves, its codec, and its frames."""

    async def model(request: web.Request) -> web.StreamResponse:
        admitted(gateway, request)
        told = await ask_model(find())
        headers = {"Cache-Control": "no-store"}
        if gateway.transcription is not None:
            headers[TRANSCRIBER] = "yes"
        return web.Response(body=told.SerializeToString(), content_type=PROTOBUF, headers=headers)

    async def codec(request: web.Request) -> web.StreamResponse:
        admitted(gateway, request)
        fleet = find()
        manifest = fleet.codec.manifest
        name = request.match_info["name"]
        graph = next((graph for graph in (manifest.encoder, manifest.decoder) if graph.file == name), None)
        if graph is None and name != MANIFEST_FILE:
            raise web.HTTPNotFound(text=f"the codec has no file {name[:100]!r}")
        named = graph is not None and request.query.get("sha256") == graph.sha256
        headers = {"Cache-Control": FOR_EVER if named else "no-cache"}
        return web.FileResponse(fleet.folder / name, headers=headers)

    async def passed_through(request: web.Request) -> web.StreamResponse:
        visitor = admitted(gateway, request, request.query.get("token"))  # a browser sends no header with a WebSocket
        return await frames.serve(gateway, request, visitor, find)

    handlers: dict[str, Handler] = {"model": model, "codec/{name}": codec, "frames": passed_through}
    return [web.get(f"{prefix}/{path}", handler) for path, handler in handlers.items()]
