"""What clients of `/api/tts_streaming` ask for, send and are told."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest

from antiphon_edge.client.events import Reply, SpokenWord
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.moshi_server.reading import Eos, Format, Query, Text, Told, parse, parse_query

FRAME = np.array([0.5, -0.25], np.float32)


def said(at: int, word: str | None = None, *, last: bool = False) -> Reply:
    """The reply of a step, with which a word may begin."""
    return Reply(at, None, 3, "", 0.0, said=SpokenWord(word, at * 0.08) if word else None, said_all=last)


def test_unmutes_query_is_read() -> None:
    assert parse_query({"format": "PcmMessagePack", "voice": "anna", "cfg_alpha": "1.5", "auth_id": "x"}) == Query(
        ("anna",), cfg_alpha=1.5
    )


def test_a_query_may_name_voices_and_sampling() -> None:
    assert parse_query(
        {"voices": "anna,ben", "seed": "7", "temperature": "0", "top_k": "25", "max_seq_len": "100", "format": "Pcm"}
    ) == Query(("anna", "ben"), Format.PCM, None, 7, 0.0, 25, 100)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (
            {"format": "Mp3"},
            "format: 'Mp3' is not made here: ask for Pcm or PcmMessagePack or OggOpus",
        ),
        ({"seed": "x"}, "seed: expected a whole number of 0 or more, got 'x'"),
        ({"top_k": "-1"}, "top_k: expected a whole number of 0 or more"),
        ({"temperature": "nan"}, "temperature: expected a number of 0.0 or more"),
        ({"cfg_alpha": "inf"}, "cfg_alpha: expected a number"),
        ({"max_seq_len": "0"}, "max_seq_len: expected a whole number of 1 or more"),
        ({"seed": "9" * 5000}, "seed: expected a whole number"),
    ],
)
def test_a_query_that_cannot_be_is_one_sentence(query: dict[str, str], words: str) -> None:
    with pytest.raises(MessageError, match=words):
        parse_query(query)


def test_clients_messages_are_read() -> None:
    assert parse(msgpack.packb({"type": "Text", "text": "hello"})) == Text("hello")
    assert parse("hello there") == Text("hello there")
    assert parse(msgpack.packb({"type": "Eos"})) == Eos()
    assert parse(b"\0") == Eos()


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"type": "Voice", "embeddings": [0.0], "shape": [1]}, "Voice: a voice's embeddings are not taken here"),
        ({"type": "Weather"}, "'Weather' is no message of text to speech: send Text or Eos"),
        ({"type": "Text", "text": 3}, r"Text\.text: expected a str, got a int"),
    ],
)
def test_what_is_no_message_is_one_sentence(message: object, words: str) -> None:
    with pytest.raises(MessageError, match=words):
        parse(msgpack.packb(message))


def test_a_word_is_told_when_the_next_one_begins_and_the_last_at_the_end() -> None:
    teller = Told(Format.PCM_MESSAGE_PACK)
    messages = [*teller.ready()]
    messages += teller.add(said(0, "hello"), None, b"", 0.0)
    messages += teller.add(said(3, "moshi"), FRAME, b"", 0.08)
    messages += teller.add(said(4), FRAME, b"", 0.16)
    messages += teller.add(said(5, last=True), FRAME, b"", 0.5)
    assert [msgpack.unpackb(message) for message in messages] == [
        {"type": "Ready"},
        {"type": "Text", "text": "hello", "start_s": 0.0, "stop_s": pytest.approx(0.24)},
        {"type": "Audio", "pcm": FRAME.tolist()},
        {"type": "Audio", "pcm": FRAME.tolist()},
        {"type": "Audio", "pcm": FRAME.tolist()},
        {"type": "Text", "text": "moshi", "start_s": pytest.approx(0.24), "stop_s": 0.5},
    ]


def test_bare_sound_has_nothing_beside_it() -> None:
    teller = Told(Format.PCM)
    assert [*teller.ready(), *teller.error("no free channels"), *teller.add(said(0, "hello"), FRAME, b"", 0.08)] == [
        FRAME.tobytes()
    ]


def test_compressed_sound_comes_bare_or_as_lists_of_bytes_and_its_head_first() -> None:
    bare, packed = Told(Format.OGG_OPUS), Told(Format.OGG_OPUS_MESSAGE_PACK)
    assert [*bare.ready(b"head"), *bare.error("none"), *bare.add(said(0, "hello"), FRAME, b"page", 0.08)] == [
        b"head",
        b"page",
    ]
    messages = [*packed.ready(b"head"), *packed.add(said(0, last=True), FRAME, b"page", 0.08)]
    assert [msgpack.unpackb(message) for message in messages] == [
        {"type": "Ready"},
        {"type": "OggOpus", "data": list(b"head")},
        {"type": "OggOpus", "data": list(b"page")},
    ]
