"""The HTTP application: every door's routes, health, and a page where there is one."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from antiphon.errors import AntiphonError
from antiphon_gateway.doors.chat import door as chat
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.doors.requests import sentences

DOORS = (chat,)
REQUEST_BYTES = 1 << 20  # of a request's body


def application(gateway: Gateway) -> web.Application:
    """All routes.

    Raises:
        AntiphonError: the folder of the page has no index.html.
    """
    app = web.Application(middlewares=[sentences], client_max_size=REQUEST_BYTES)
    for door in DOORS:
        app.add_routes(door.routes(gateway))
    if gateway.static is not None:
        app.add_routes(_page(gateway.static))
    return app


def _page(folder: Path) -> list[web.AbstractRouteDef]:
    index = folder / "index.html"
    if not index.is_file():
        raise AntiphonError(f"{folder}: has no index.html: name the folder of a page with --static")

    async def root(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(index)

    return [web.get("/", root), web.static("/", folder)]
