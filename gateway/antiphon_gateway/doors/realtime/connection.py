"""One client's connection: its events up, the model's down.

The session on a worker is opened by the first event that needs it, since a client says who the model is to be in
`session.update`, after it has connected. From then on the persona and the formats stay.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from antiphon.errors import AntiphonError, NoFreeSlotError, NotSupportedError, PreconditionError, UnavailableError
from antiphon_gateway.access.visitor import Visitor
from antiphon_gateway.calls.call import Call, Manner, open_call
from antiphon_gateway.calls.events import Ended, Frame, Moved
from antiphon_gateway.calls.fleet import Fleet, Wanted
from antiphon_gateway.calls.turns import Turns
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.doors.realtime.dialect import Dialect
from antiphon_gateway.doors.realtime.errors import NothingToCancelError, error_event
from antiphon_gateway.doors.realtime.items import Ids
from antiphon_gateway.doors.realtime.person import Person
from antiphon_gateway.doors.realtime.responses import Event, Responses
from antiphon_gateway.doors.realtime.settings import Settings
from antiphon_gateway.doors.realtime.transcriber import Transcriber
from antiphon_gateway.doors.realtime.writing import ASSISTANT, Writing
from antiphon_gateway.doors.socket import Socket
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.formats import Reading
from antiphon_gateway.wire.pcm16 import from_base64

logger = logging.getLogger(__name__)

GRACE_S = 0.16  # two frames: how late a client's sound may be
SHORT_BYTES = 16_384  # of sound, read at once; longer ones go to a thread
ROLES = ("user", ASSISTANT, "system")
TEXTS = ("input_text", "output_text", "text")


class Connection:
    """One client.

    Args:
        gateway: opens the call.
        visitor: who it is.
        fleet: whom they talk to.
        socket: theirs.
        dialect: that they speak.
        duplex: they understand a response that stays open.
    """

    def __init__(
        self, gateway: Gateway, visitor: Visitor, fleet: Fleet, socket: Socket, dialect: Dialect, duplex: bool
    ) -> None:
        self._gateway, self._visitor, self._fleet = gateway, visitor, fleet
        self._socket, self._dialect = socket, dialect
        self._ids = Ids()
        self._id = self._ids.new("sess")
        self._settings = Settings(hears=dialect.sound, speaks=dialect.sound).updated(visitor.settings).fitting(fleet)
        self._turns = Turns(always=duplex)
        self._person = Person(dialect, self._ids)
        self._responses: Responses | None = None
        self._call: Call | None = None
        self._read: Reading | None = None
        self._transcriber: Transcriber | None = None
        self._writing = Writing(self._say)
        self._stack = AsyncExitStack()
        self._listening: asyncio.Task[None] | None = None
        self._failure: AntiphonError | None = None  # of the call
        self._handlers: dict[str, Callable[[Event], Awaitable[None]]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._write,
            "conversation.item.truncate": self._truncate,
            "conversation.item.delete": self._delete,
            "response.create": self._respond,
            "response.cancel": self._cancel,
        }

    async def run(self) -> None:
        """Until the client goes, or the call ends.

        Raises:
            AntiphonError: why it ended.
        """
        try:
            async with self._stack:
                self._stack.push_async_callback(self._writing.close)
                await self._tell([{"type": "session.created", "session": self._told()}])
                self._listening = asyncio.create_task(self._listen())
                self._stack.push_async_callback(_ended, self._listening)
                await asyncio.wait({self._listening})
                if not self._listening.cancelled():
                    self._listening.result()
                elif self._failure is not None:  # within the stack, which counts how the call ended
                    raise self._failure
        except ConnectionError:
            return  # the client is gone

    async def _listen(self) -> None:
        async for message in self._socket.messages():
            event: Event = {}
            try:
                event = _event(message)
                kind = event.get("type")
                if kind not in self._handlers:
                    raise NotSupportedError(f"type: this gateway does nothing with {str(kind)[:80]!r}")
                await self._handlers[kind](event)
            except (NoFreeSlotError, UnavailableError):  # of the workers: there is no session to go on with
                raise
            except AntiphonError as error:
                await self._socket.send_json(error_event(error, event.get("event_id"), self._ids))

    async def _speak(self, call: Call, responses: Responses) -> None:
        async for event in call.events():
            match event:
                case Frame():
                    await self._tell(responses.frame(event))
                case Moved():
                    self._gateway.note(event)
                case Ended(error):
                    await self._tell(responses.cancel())
                    if error is not None:
                        raise error

    async def _open(self) -> Call:
        """The call, which begins now where it has not."""
        if self._call is None:
            settings = self._settings
            manner = Manner(settings.hears.rate_hz, settings.speaks.rate_hz, GRACE_S)
            wanted = self._fleet.fitting(settings.wanted())
            opening = self._gateway.call("realtime", self._visitor, self._fleet, wanted, manner)
            self._call = call = await self._stack.enter_async_context(opening)
            self._responses = Responses(self._dialect, self._ids, settings.speaks.writer(), self._turns)
            self._read = settings.hears.reader()
            speaking = asyncio.create_task(self._speak(call, self._responses))
            self._stack.push_async_callback(_ended, speaking)
            speaking.add_done_callback(self._on_spoken)
            await self._transcribe(settings)
        return self._call

    async def _transcribe(self, settings: Settings) -> None:
        """Has what the person says written down, where there is a worker for it and it has a place."""
        fleet = self._gateway.transcription
        if fleet is None:
            return
        manner = Manner(settings.hears.rate_hz, grace_s=GRACE_S)
        try:
            opening = open_call(fleet, self._gateway.threads, Wanted(), manner)
            call = await self._stack.enter_async_context(opening)
        except AntiphonError as error:
            await self._socket.send_json(error_event(error, None, self._ids))
            return
        self._transcriber = Transcriber(call, fleet.spec.frame_s, self._person, self._tell)
        writing = asyncio.create_task(self._transcriber.run())
        self._stack.push_async_callback(_ended, writing)

    def _on_spoken(self, task: asyncio.Task[None]) -> None:
        """The call has ended: so does the connection."""
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, AntiphonError):
            self._failure = error
        elif error is not None and not isinstance(error, ConnectionError):
            logger.error("a connection ended by a fault of the gateway's own", exc_info=error)
        if self._listening is not None:
            self._listening.cancel()

    async def _update(self, event: Event) -> None:
        settings = self._settings.updated(event.get("session")).fitting(self._fleet)
        if self._call is not None and settings.fixed != self._settings.fixed:
            raise PreconditionError(
                "session: instructions, voice and formats stay as they are once sound was sent: open another session"
            )
        self._settings = settings
        await self._tell([{"type": "session.updated", "session": self._told()}])

    async def _append(self, event: Event) -> None:
        audio = event.get("audio")
        if not isinstance(audio, str):
            raise MessageError("audio: expected sound in base64")
        data = from_base64(audio)
        call = await self._open()
        assert self._read is not None, "opened with the call"
        pcm = self._read(data) if len(data) <= SHORT_BYTES else await self._gateway.threads.run(self._read, data)
        duration_s = len(pcm) / self._settings.hears.rate_hz
        await self._tell(self._person.append(pcm, duration_s, self._settings.detects))
        if self._transcriber is not None:
            self._transcriber.hear(pcm)
        await call.send_pcm(pcm)

    async def _commit(self, event: Event) -> None:
        await self._tell(self._person.commit())

    async def _clear(self, event: Event) -> None:
        if self._call is not None:
            self._call.clear()
        await self._tell(self._person.clear())

    async def _write(self, event: Event) -> None:
        """The model says what the client writes; of a conversation's past, nothing."""
        item = event.get("item")
        if not isinstance(item, dict) or item.get("type") != "message" or item.get("role") not in ROLES:
            raise NotSupportedError(f"item: expected a message of one of {', '.join(ROLES)}, with text")
        parts = item.get("content")
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise MessageError("item.content: expected a list of parts")
        if any(part.get("type") not in TEXTS or not isinstance(part.get("text"), str) for part in parts):
            raise NotSupportedError("item.content: expected text; sound goes into input_audio_buffer.append")
        text = " ".join(part["text"] for part in parts)
        if text.strip() and item["role"] != ASSISTANT:
            call = await self._open()
            if not call.session.has_room_to_say(text):
                raise MessageError("item.content: more than may wait to be said: send it in parts")
        self._writing.write(item["role"], text)
        await self._tell(self._person.write(item, item["role"]))

    async def _say(self, text: str) -> None:
        assert self._call is not None, "opened when the text came"
        try:
            await self._call.say(text)
            await self._call.finish_saying()
        except AntiphonError as error:  # of a call that has ended `_speak` knows, too
            await self._socket.send_json(error_event(error, None, self._ids))

    async def _truncate(self, event: Event) -> None:
        """The client tells how much of an item was heard, which changes nothing here."""
        told = {name: event.get(name) for name in ("item_id", "content_index", "audio_end_ms")}
        await self._tell([{"type": "conversation.item.truncated"} | told])

    async def _delete(self, event: Event) -> None:
        """The client forgets an item; the model does not."""
        item = event.get("item_id")
        if not isinstance(item, str):
            raise MessageError("item_id: expected the name of an item")
        self._ids.delete(item)
        await self._tell([{"type": "conversation.item.deleted", "item_id": item}])

    async def _respond(self, event: Event) -> None:
        asked = event.get("response")
        metadata = asked.get("metadata") if isinstance(asked, dict) else None
        await self._open()
        assert self._responses is not None, "opened with the call"
        await self._tell(self._responses.ask(metadata if isinstance(metadata, dict) else None))
        await self._writing.flush()

    async def _cancel(self, event: Event) -> None:
        if self._responses is None or not self._turns.open:
            raise NothingToCancelError("Cancellation failed: there is no response to cancel")
        await self._tell(self._responses.cancel())

    async def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            await self._socket.send_json({"event_id": self._ids.new("event")} | event)

    def _told(self) -> Event:
        return self._settings.told(self._dialect, self._id, self._fleet.model.name)


def _event(message: bytes | str) -> Event:
    """A client's event.

    Raises:
        MessageError: it is none.
    """
    if isinstance(message, bytes):
        raise MessageError("a binary message: /v1/realtime takes events as JSON in text messages")
    try:
        return msgspec.json.decode(message, type=dict[str, Any])
    except ValueError:  # msgspec's errors are ValueErrors
        raise MessageError("a message that is no JSON object: send events as JSON") from None


async def _ended(task: asyncio.Task[None]) -> None:
    """Ends a task and waits for it."""
    task.cancel()
    await asyncio.wait({task})
