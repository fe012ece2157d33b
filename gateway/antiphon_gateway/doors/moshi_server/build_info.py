"""`/api/build_info`, by which Unmute sees whether a server is up before it connects."""

from __future__ import annotations

from aiohttp import web

from antiphon import __version__
from antiphon.errors import UnavailableError
from antiphon_gateway.doors.gateway import Gateway

PATH = "/api/build_info"


def routes(gateway: Gateway) -> list[web.RouteDef]:
    """The page's."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if gateway.transcription is None and gateway.speech is None:
            raise UnavailableError("no worker for speech to text or text to speech has answered this gateway")
        return web.json_response({"git_describe": f"antiphon {__version__}"})

    return [web.get(PATH, handle)]
