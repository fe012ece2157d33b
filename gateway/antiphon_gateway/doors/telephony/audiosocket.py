"""AudioSocket: a telephone call through Asterisk, over TCP. In the dialplan, with the address of `--audiosocket`:

    same => n,AudioSocket(${UUID()},HOST:PORT)

Asterisk plays what it is sent at once, so its own frames are the clock of what it gets: as many samples go out as have
come in. The protocol has no form for errors: the log has the sentence, the call hangs up, and the dialplan goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

from antiphon.errors import AntiphonError
from antiphon_gateway.access.visitor import Visitor
from antiphon_gateway.calls.call import Call, Manner
from antiphon_gateway.calls.events import Ended, Frame, Moved
from antiphon_gateway.calls.fleet import Wanted
from antiphon_gateway.doors.both_ways import both_ways
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.doors.peer import Peer
from antiphon_gateway.doors.telephony.outbox import Outbox
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.audiosocket import Failure, Framer, HangUp, Identity, Message, Sound, hang_up, sound

logger = logging.getLogger(__name__)

NAME = "audiosocket"  # in the metrics
IDLE_S = 30.0  # a telephone that says nothing for so long is gone, or on hold for good
OUTBOX_S = 0.5


async def serve(gateway: Gateway, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carries one call, until either side hangs up."""
    peer = Peer(reader, writer, IDLE_S)
    try:
        await _answer(gateway, peer)
    except AntiphonError as error:
        logger.warning("AudioSocket, %s: %s", peer.visitor.name, error)
    except ConnectionError:
        pass  # the caller is gone
    finally:
        with suppress(AntiphonError, ConnectionError):
            await peer.send(hang_up())
        await peer.close()


async def _answer(gateway: Gateway, peer: Peer) -> None:
    """Carries a call from its first sound to its end."""
    messages, visitor = _messages(peer), None
    async for message in messages:
        match message:
            case Identity(call_id):
                visitor = Visitor(f"the call {call_id}")
            case Sound() as first:
                if visitor is None:
                    raise MessageError("sound came before the call's UUID: is it Asterisk that speaks here?")
                fleet = gateway.need(gateway.dialogue, "a dialogue")
                async with gateway.call(NAME, visitor, fleet, Wanted(), Manner(first.rate_hz, live=True)) as call:
                    telephone = _Telephone(gateway, peer, call, first.rate_hz)
                    await telephone.hear(first)
                    await both_ways(telephone.up(messages), telephone.down())
                return
            case HangUp():
                return


async def _messages(peer: Peer) -> AsyncIterator[Message]:
    """What Asterisk says, until it hangs up.

    Raises:
        MessageError: it is not Asterisk that speaks, or it speaks of a failure.
    """
    framer = Framer()
    async for data in peer.chunks():
        for message in framer.feed(data):
            if isinstance(message, Failure):
                raise MessageError(f"Asterisk tells of its error {message.code:#04x}")
            yield message
    if framer.inside:
        raise MessageError("the connection ended amid a message")


class _Telephone:
    """One call, once its session is open."""

    def __init__(self, gateway: Gateway, peer: Peer, call: Call, rate_hz: int) -> None:
        self._gateway, self._peer, self._call, self._rate_hz = gateway, peer, call, rate_hz
        self._outbox = Outbox(round(OUTBOX_S * rate_hz))

    async def up(self, messages: AsyncIterator[Message]) -> None:
        """What the caller says, until they hang up."""
        async for message in messages:
            match message:
                case Sound():
                    await self.hear(message)
                case HangUp():
                    return

    async def hear(self, said: Sound) -> None:
        """The caller says something; as much of what waits for them goes out."""
        if said.rate_hz != self._rate_hz:
            raise MessageError(f"sound at {said.rate_hz} Hz in a call that began at {self._rate_hz} Hz")
        await self._call.send_pcm(said.pcm)
        if len(out := self._outbox.take(len(said.pcm))):
            await self._peer.send(sound(self._rate_hz, out))

    async def down(self) -> None:
        """What the model says."""
        async for event in self._call.events():
            match event:
                case Frame(_, pcm):
                    if pcm is not None:
                        self._outbox.put(pcm)
                case Moved():
                    self._gateway.note(event)
                case Ended(error):
                    if error is not None:
                        raise error
