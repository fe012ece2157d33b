"""`/twilio`: a telephone call through Twilio Media Streams.

In the call's TwiML, `persona` and `voice` for a model that takes them:

    <Connect><Stream url="wss://HOST/twilio"><Parameter name="persona" value="You are patient."/></Stream></Connect>

Twilio's frames are the clock: they come whether anybody speaks or not, and what is sent back is played at the same
pace. The protocol has no form for errors: the sentence is the reason with which the connection closes, and the call's
TwiML goes on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web

from antiphon.errors import AntiphonError, ArgumentError, PermissionDeniedError
from antiphon_gateway.access.visitor import Visitor
from antiphon_gateway.calls.call import Call, Manner
from antiphon_gateway.calls.events import Ended, Frame, Moved
from antiphon_gateway.calls.fleet import Wanted
from antiphon_gateway.doors.both_ways import both_ways
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.doors.socket import Socket, open_socket
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.g711 import RATE_HZ
from antiphon_gateway.wire.twilio.messages import Media, Message, Start, Stop, media, parse
from antiphon_gateway.wire.twilio.signature import HEADER, is_signed

NAME = "twilio"  # in the metrics
MANNER = Manner(RATE_HZ, live=True)


@dataclass(frozen=True, slots=True)
class TwilioAccount:
    """Whose calls come in.

    Args:
        url: of the stream, as the calls' TwiML has it.
        auth_token: the account's secret, with which Twilio signs.

    Raises:
        ArgumentError: the URL is none that Twilio can stream to.
    """

    url: str
    auth_token: str = field(repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            whole = parts.scheme == "wss" and parts.hostname and (parts.port or 443) and parts.path not in ("", "/")
        except ValueError:  # a port that is none
            whole = False
        if not whole:
            raise ArgumentError(f"{self.url!r} is no URL of a stream: give wss://HOST/twilio, as in the TwiML")

    @property
    def path(self) -> str:
        """Of the URL."""
        return urlsplit(self.url).path


def routes(gateway: Gateway, account: TwilioAccount) -> list[web.RouteDef]:
    """The door's."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if not is_signed(account.url, account.auth_token, request.headers.get(HEADER, "")):
            raise PermissionDeniedError(
                f"{HEADER}: this account has not signed {account.url}: is it the URL in the TwiML, and the token right?"
            )
        async with open_socket(gateway, request) as (socket, response):
            try:
                await _answer(gateway, socket)
            except AntiphonError as error:
                await socket.close(error)
        return response

    return [web.get(account.path, handle)]


async def _answer(gateway: Gateway, socket: Socket) -> None:
    """Carries a call from its start to its stop."""
    messages = _messages(socket)
    async for message in messages:
        if not isinstance(message, Start):
            raise MessageError("Twilio: a message came before start: is it Twilio that speaks here?")
        fleet = gateway.need(gateway.dialogue, "a dialogue")
        given = message.parameters
        wanted = fleet.fitting(Wanted(voice=given.get("voice") or None, persona=given.get("persona") or None))
        visitor = Visitor(f"the call {message.call[:40]}")
        async with gateway.call(NAME, visitor, fleet, wanted, MANNER) as call:
            await both_ways(_up(call, messages), _down(gateway, socket, call, message.stream))
        return


async def _messages(socket: Socket) -> AsyncIterator[Message]:
    """What Twilio says and somebody may want to know."""
    async for data in socket.messages():
        if isinstance(data, bytes):
            raise MessageError("Twilio: a binary message, where its messages are text: is it Twilio that speaks here?")
        if (message := parse(data)) is not None:
            yield message


async def _up(call: Call, messages: AsyncIterator[Message]) -> None:
    async for message in messages:
        match message:
            case Media(pcm):
                await call.send_pcm(pcm)
            case Stop():
                return


async def _down(gateway: Gateway, socket: Socket, call: Call, stream: str) -> None:
    async for event in call.events():
        match event:
            case Frame(_, pcm):
                if pcm is not None and len(pcm):
                    await socket.send(media(stream, pcm))
            case Moved():
                gateway.note(event)
            case Ended(error):
                if error is not None:
                    raise error
