"""The person's side of a conversation as items: when they speak, and what was committed. Without I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from antiphon_edge.audio.pcm import Pcm
from antiphon_gateway.calls.turns import Speech
from antiphon_gateway.doors.realtime.dialect import Dialect
from antiphon_gateway.doors.realtime.errors import EmptyBufferError
from antiphon_gateway.doors.realtime.items import Ids
from antiphon_gateway.doors.realtime.responses import Event

TRANSCRIPTION = "conversation.item.input_audio_transcription"
MOST_SAID = 64  # items that wait for their transcripts; full: the oldest gets none


@dataclass(slots=True)
class _Said:
    """An item that was committed."""

    item: str
    until_s: float
    text: list[str]


class Person:
    """What the client's audio buffer goes through.

    Args:
        dialect: of the client.
        ids: of the session.
    """

    def __init__(self, dialect: Dialect, ids: Ids) -> None:
        self._dialect, self._ids = dialect, ids
        self._speech = Speech()
        self._heard_s = 0.0
        self._item = ids.new("item")  # that what is said now becomes
        self._uncommitted_s = 0.0
        self._said: deque[_Said] = deque(maxlen=MOST_SAID)  # committed, and not written down yet
        self._text: list[str] = []  # of what is said now

    def append(self, pcm: Pcm, duration_s: float, detects: bool) -> Iterator[Event]:
        """The person says samples [N].

        Args:
            pcm: the samples.
            duration_s: how long they last.
            detects: whether the client is told of speech that begins and ends, which commits it.
        """
        begun_s, self._heard_s = self._heard_s, self._heard_s + duration_s
        self._uncommitted_s += duration_s
        change = self._speech.add(pcm, duration_s)
        if not detects or change is None:
            return
        if change:
            started = {"audio_start_ms": round(begun_s * 1000), "item_id": self._item}
            yield {"type": "input_audio_buffer.speech_started"} | started
        else:
            stopped = {"audio_end_ms": round(self._heard_s * 1000), "item_id": self._item}
            yield {"type": "input_audio_buffer.speech_stopped"} | stopped
            yield from self.commit()

    def commit(self) -> Iterator[Event]:
        """What was said becomes an item.

        Raises:
            EmptyBufferError: nothing was said.
        """
        if not self._uncommitted_s:
            raise EmptyBufferError("input_audio_buffer.commit: the buffer is empty: append sound first")
        item = self._item
        previous = self._ids.append(item)
        self._said.append(_Said(item, self._heard_s, self._text))
        self._text = []
        self._item, self._uncommitted_s = self._ids.new("item"), 0.0
        yield {"type": "input_audio_buffer.committed", "item_id": item, "previous_item_id": previous}
        yield from self._told(item, previous, [{"type": "input_audio", "transcript": None}])

    def heard(self, word: str, start_s: float) -> Iterator[Event]:
        """A word of the person's was written down; `start_s` is when it began in all that was said."""
        said = next((said for said in self._said if start_s < said.until_s), None)
        text, item = (self._text, self._item) if said is None else (said.text, said.item)
        delta = word if not text else f" {word}"
        text.append(word)
        told = {"item_id": item, "content_index": 0, "delta": delta, "start_time": start_s}
        yield {"type": f"{TRANSCRIPTION}.delta"} | told

    def transcribed(self, until_s: float) -> Iterator[Event]:
        """All that was said before `until_s` was written down."""
        while self._said and self._said[0].until_s <= until_s:
            said = self._said.popleft()
            told = {"item_id": said.item, "content_index": 0, "transcript": " ".join(said.text)}
            yield {"type": f"{TRANSCRIPTION}.completed", "usage": None} | told

    def clear(self) -> Iterator[Event]:
        """What was said is forgotten."""
        self._uncommitted_s = 0.0
        yield {"type": "input_audio_buffer.cleared"}

    def write(self, item: dict[str, Any], role: str) -> Iterator[Event]:
        """The client adds an item of text."""
        name = str(item.get("id") or self._ids.new("item"))
        yield from self._told(name, self._ids.append(name), item["content"], role)

    def _told(self, item: str, previous: str | None, content: Any, role: str = "user") -> Iterator[Event]:
        told = {"id": item, "object": "realtime.item", "type": "message", "role": role, "status": "completed"}
        added = {"previous_item_id": previous, "item": told | {"content": content}}
        yield {"type": self._dialect.item_added} | added
        if self._dialect.item_done:
            yield {"type": self._dialect.item_done} | added
