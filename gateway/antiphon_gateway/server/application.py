"""The HTTP application: every door's routes, health, and a page where there is one."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from antiphon.errors import AntiphonError, NotSupportedError
from antiphon_gateway.doors.chat import door as chat
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.doors.moshi_server import build_info, speech, transcription
from antiphon_gateway.doors.page import door as page
from antiphon_gateway.doors.realtime import door as realtime
from antiphon_gateway.doors.requests import sentences
from antiphon_gateway.doors.telephony import twilio

DOORS = (chat, realtime, transcription, speech, build_info, page)
PAGE = Path(__file__).parent.parent / "page"
POLICY = (  # the page asks nobody else for anything, and stands in no other page
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data:; frame-ancestors 'none'"
)
REQUEST_BYTES = 1 << 20  # of a request's body


def application(gateway: Gateway, account: twilio.TwilioAccount | None = None) -> web.Application:
    """All routes.

    Args:
        gateway: what the doors share.
        account: of Twilio's, whose calls come in; None for none.

    Raises:
        AntiphonError: the folder of the page has no index.html.
    """
    app = web.Application(middlewares=[sentences], client_max_size=REQUEST_BYTES)
    for door in DOORS:
        app.add_routes(door.routes(gateway))
    if account is not None:
        app.add_routes(twilio.routes(gateway, account))
    if gateway.static is not None:
        app.add_routes(_page(gateway.static))
    elif (PAGE / "index.html").is_file():
        app.add_routes(_page(PAGE))
        app.on_response_prepare.append(_protect)
    else:
        app.add_routes([web.get("/", _missing)])
    return app


def _page(folder: Path) -> list[web.AbstractRouteDef]:
    index = folder / "index.html"
    if not index.is_file():
        raise AntiphonError(f"{folder}: has no index.html: name the folder of a page with --static")

    async def root(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(index)

    return [web.get("/", root), web.static("/", folder)]


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    """The headers of the page that the package brings, whose files change with the package."""
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers.setdefault("Cache-Control", "no-cache")


async def _missing(request: web.Request) -> web.StreamResponse:
    raise NotSupportedError("this gateway has no page: `make page` builds it in a checkout, --static names another")
