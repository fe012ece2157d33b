"""What clients of `/api/asr-streaming` are told, as moshi-server would tell it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
import pytest

from antiphon.spec import ModelSpec, Sampling
from antiphon_edge.client.events import Reply
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.moshi_server.listening import READY, Audio, Marker, OggOpus, Told, error, parse

FRAME_S = 0.08
STT_1B = ModelSpec("1b", "stt", 32, 0, 2048, 8000, 0, 750, Sampling(), "float32", text_delay_ms=500, hears_pauses=True)
DELAY = 6  # steps
PIECES = {10: " hel", 11: "lo", 12: " world"}


def told(tokens: Iterable[int], lead_in_frames: int = 1, pause: float | None = None, **markers: int) -> list[Any]:
    """The messages of one reply a token; `markers` are set before the first, each after so many frames."""
    teller = Told(STT_1B, FRAME_S, lead_in_frames)
    for number, frames in enumerate(markers.values()):
        teller.mark(Marker(number), frames)
    found = []
    for at, token in enumerate(tokens):
        reply = Reply(at, None, token, PIECES.get(token, ""), 0.0, pause=pause)
        found += [msgpack.unpackb(message) for message in teller.add(reply, 480)]
    return found


def test_a_session_begins_with_ready_and_may_fail_with_a_sentence() -> None:
    assert msgpack.unpackb(READY) == {"type": "Ready"}
    assert msgpack.unpackb(error("no free channels")) == {"type": "Error", "message": "no free channels"}


def test_a_word_is_told_when_it_is_written_and_its_end_when_the_next_begins() -> None:
    tokens = [3] * (DELAY - 1) + [0, 10, 11, 3, 0, 12, 3, 0]
    assert told(tokens) == [
        {"type": "Word", "text": "hello", "start_time": 0.0},
        {"type": "EndWord", "stop_time": pytest.approx(4 / 12.5)},
        {"type": "Word", "text": "world", "start_time": pytest.approx(4 / 12.5)},
        {"type": "EndWord", "stop_time": pytest.approx(7 / 12.5)},
    ]


def test_steps_count_the_clients_frames_and_stand_for_each_pause() -> None:
    first, second = told([3] * 5, lead_in_frames=3, pause=0.25)
    assert first == {"type": "Step", "step_idx": 1, "prs": [0.25] * 4, "buffered_pcm": 480}
    assert second["step_idx"] == 2


def test_a_model_that_hears_no_pauses_tells_no_steps() -> None:
    assert told([3] * 20) == []


def test_a_marker_comes_back_when_what_was_before_it_is_transcribed() -> None:
    assert told([3] * 20, lead_in_frames=2, first=4, second=12) == [
        {"type": "Marker", "id": 0},
        {"type": "Marker", "id": 1},
    ]
    assert told([3] * (2 + 4 + DELAY), lead_in_frames=2, first=4, second=12) == [{"type": "Marker", "id": 0}]
    assert told([3] * (2 + 4 + DELAY - 1), lead_in_frames=2, first=4) == []


def test_a_step_comes_before_its_words_and_those_before_a_marker() -> None:
    messages = told([3] * 5 + [0, 10, 3], pause=0.5, first=1)
    assert [message["type"] for message in messages[-4:]] == ["Step", "Step", "Word", "Marker"]


def test_silence_before_the_sound_is_not_of_the_clients_time() -> None:
    model = replace(STT_1B, silence_before_ms=800)
    teller = Told(model, FRAME_S, 11)
    tokens = [3] * (10 + DELAY - 1) + [0, 10, 3]
    messages = [
        msgpack.unpackb(message)
        for at, token in enumerate(tokens)
        for message in teller.add(Reply(at, None, token, PIECES.get(token, ""), 0.0), 0)
    ]
    assert messages == [{"type": "Word", "text": "hel", "start_time": pytest.approx(0.0)}]


def test_clients_messages_are_read() -> None:
    audio = parse(msgpack.packb({"type": "Audio", "pcm": [0.5, -0.5]}, use_single_float=True))
    assert isinstance(audio, Audio)
    np.testing.assert_array_equal(audio.pcm, np.array([0.5, -0.5], np.float32))
    assert parse(msgpack.packb({"type": "Marker", "id": 7})) == Marker(7)
    for data in (b"OggS", list(b"OggS")):  # Python's packer, and Rust's
        assert parse(msgpack.packb({"type": "OggOpus", "data": data})) == OggOpus(b"OggS")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"type": "Weather"}, "'Weather' is no message of speech to text: send Audio, OggOpus or Marker"),
        ({"type": "Marker"}, r"Marker\.id: expected a int, got nothing"),
        ({"type": "Marker", "id": True}, r"Marker\.id: expected a int, got a bool"),
        ({"type": "OggOpus", "data": [300]}, r"OggOpus\.data: expected bytes"),
        ({"type": "OggOpus", "data": ["a"]}, r"OggOpus\.data: expected bytes"),
        ({"type": "OggOpus", "data": bytes(70_000)}, r"OggOpus\.data: more than 65536 bytes"),
        ({"type": "OggOpus", "data": 3}, r"OggOpus\.data: expected a list, got a int"),
    ],
)
def test_what_is_no_message_is_one_sentence(message: object, words: str) -> None:
    with pytest.raises(MessageError, match=words):
        parse(msgpack.packb(message))
