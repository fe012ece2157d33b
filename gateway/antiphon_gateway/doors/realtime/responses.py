"""The events that go down: what a frame of the model, and the person's speech, become in the protocol. Without I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from antiphon_gateway.calls.events import Frame
from antiphon_gateway.calls.turns import Turn, Turns
from antiphon_gateway.doors.realtime.dialect import Dialect
from antiphon_gateway.doors.realtime.items import Ids
from antiphon_gateway.wire.formats import Writing
from antiphon_gateway.wire.pcm16 import to_base64

Event = dict[str, Any]


class Responses:
    """The model's side of a conversation as responses.

    Args:
        dialect: of the client.
        ids: of the session.
        write: the sound's format.
        turns: when responses open and close.
    """

    def __init__(self, dialect: Dialect, ids: Ids, write: Writing, turns: Turns) -> None:
        self._dialect, self._ids, self._write = dialect, ids, write
        self.turns = turns
        self._response = self._item = ""
        self._before: str | None = None  # the item before it
        self._asked_with: Event | None = None  # the metadata of the response that was asked for and is not open yet
        self._metadata: Event | None = None  # of the one that is open
        self._text = ""
        self._told_text = 0  # characters of it that the client has

    def frame(self, frame: Frame) -> Iterator[Event]:
        """The events of a frame."""
        turn = self.turns.add(frame)
        if turn is Turn.NONE:
            return
        if turn is Turn.OPENS:
            yield from self._open()
        self._text += frame.reply.text
        yield from self._tell_text(self._text.rfind(" ") if self._dialect.whole_words else len(self._text))
        if frame.pcm is not None and (data := self._write(frame.pcm)):
            yield self._part(f"{self._dialect.audio}.delta", delta=to_base64(data))
        if turn is Turn.CLOSES:
            yield from self._close("completed")

    def ask(self, metadata: Event | None) -> Iterator[Event]:
        """The client asks for a response, which opens with the next frame; one that is open ends before it.

        Args:
            metadata: of the client's, by which it knows the response again.
        """
        if self.turns.always and self.turns.open:
            return
        if self.turns.cut():
            yield from self._close("completed")
        self.turns.ask()
        self._asked_with = metadata

    def cancel(self) -> Iterator[Event]:
        """The events of a response that the client, or the call's end, cuts off; none where none is open."""
        if self.turns.cut():
            yield from self._close("cancelled")

    def _open(self) -> Iterator[Event]:
        self._response, self._item, self._text = self._ids.new("resp"), self._ids.new("item"), ""
        self._told_text = 0
        self._metadata, self._asked_with = self._asked_with, None
        self._before = self._ids.append(self._item)
        yield {"type": "response.created", "response": self._told("in_progress", [])}
        yield self._output("response.output_item.added", item=self._told_item("in_progress", []))
        yield {"type": self._dialect.item_added, "item": self._told_item("in_progress", [])} | self._place()
        yield self._part("response.content_part.added", part={"type": "audio", "transcript": ""})

    def _tell_text(self, end: int) -> Iterator[Event]:
        """What the client does not have of the text, up to a place in it."""
        delta = self._text[self._told_text : end] if end > self._told_text else ""
        self._told_text += len(delta)
        if self._dialect.whole_words:
            delta = delta.strip()
        if delta:
            yield self._part(f"{self._dialect.transcript}.delta", delta=delta)

    def _close(self, status: str) -> Iterator[Event]:
        yield from self._tell_text(len(self._text))
        whole = {"type": self._dialect.content, "transcript": self._text.strip()}
        item = self._told_item("completed" if status == "completed" else "incomplete", [whole])
        yield self._part(f"{self._dialect.audio}.done")
        yield self._part(f"{self._dialect.transcript}.done", **{self._dialect.text_field: self._text.strip()})
        yield self._part("response.content_part.done", part={"type": "audio", "transcript": self._text.strip()})
        yield self._output("response.output_item.done", item=item)
        if self._dialect.item_done:
            yield {"type": self._dialect.item_done, "item": item} | self._place()
        yield {"type": "response.done", "response": self._told(status, [item])}

    def _told(self, status: str, output: list[Event]) -> Event:
        details = {"type": "cancelled", "reason": "client_cancelled"} if status == "cancelled" else None
        return {
            "id": self._response,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": output,
            "metadata": self._metadata,
            "usage": None,
        }

    def _told_item(self, status: str, content: list[Event]) -> Event:
        return {
            "id": self._item,
            "object": "realtime.item",
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def _place(self) -> Event:
        return {"previous_item_id": self._before}

    def _output(self, kind: str, **fields: Any) -> Event:
        return {"type": kind, "response_id": self._response, "output_index": 0} | fields

    def _part(self, kind: str, **fields: Any) -> Event:
        return self._output(kind, item_id=self._item, content_index=0, **fields)
