"""Wyoming's events, however the network cuts them, beside the library's own writer."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wyoming.event import Event, async_write_event

from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.wyoming import MOST_BYTES, Framer


class Sink:
    """Keeps what the library writes."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        self.data += b"".join(parts)

    async def drain(self) -> None: ...


def written(*events: Event) -> bytes:
    """The events as the library writes them."""
    sink: Any = Sink()

    async def write() -> None:
        for event in events:
            await async_write_event(event, sink)

    asyncio.run(write())
    return bytes(sink.data)


EVENTS = st.builds(
    Event,
    st.text(min_size=1),
    st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.none())),
    st.one_of(st.none(), st.binary(min_size=1, max_size=300)),
)


@given(st.lists(EVENTS, max_size=4), st.data())
def test_events_are_read_wherever_the_stream_is_cut(events: list[Event], data: st.DataObject) -> None:
    stream = written(*events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    framer, found = Framer(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += list(framer.feed(stream[start:end]))
    assert found == events
    assert not framer.inside


def test_data_may_stand_in_the_line_as_older_clients_have_it() -> None:
    assert list(Framer().feed(b'{"type": "synthesize", "data": {"text": "hello"}}\n')) == [
        Event("synthesize", {"text": "hello"})
    ]


@given(st.binary(max_size=400))
def test_noise_is_events_or_one_sentence(noise: bytes) -> None:
    with suppress(MessageError):  # and nothing else
        list(Framer().feed(noise + b"\n"))


def test_an_event_cut_in_half_waits_for_its_other_half() -> None:
    event = Event("audio-chunk", {"rate": 16_000}, b"\0\1")
    stream = written(event)
    framer = Framer()
    assert list(framer.feed(stream[:-1])) == []
    assert framer.inside
    assert list(framer.feed(stream[-1:])) == [event]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"GET / HTTP/1.1\r\n", "line: expected a JSON object, got b'GET"),
        (b"[1]\n", "line: expected a JSON object"),
        (b"\xff\xfe\n", "line: expected a JSON object"),
        (b'{"data": {}}\n', "an event has no type"),
        (b'{"type": "x", "data": 3}\n', "data: expected an object"),
        (b'{"type": "x", "data_length": -1}\n', "data_length: expected 0 to"),
        (b'{"type": "x", "payload_length": 1e3}\n', "payload_length: expected 0 to"),
        (json.dumps({"type": "x", "payload_length": MOST_BYTES + 1}).encode() + b"\n", "payload_length: expected 0 to"),
        (b'{"type": "x", "data_length": 2}\n[]', "data: expected a JSON object"),
        (b"x" * (MOST_BYTES + 1), "a line is longer than"),
    ],
)
def test_what_is_no_event_is_one_sentence(raw: bytes, words: str) -> None:
    with pytest.raises(MessageError, match=words):
        list(Framer().feed(raw))
