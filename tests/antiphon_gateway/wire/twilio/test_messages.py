"""Twilio's messages, as its documentation shows them."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.g711 import MU_LAW
from antiphon_gateway.wire.twilio.messages import Digit, Mark, Media, Start, Stop, clear, mark, media, parse

STREAM = "MZ18ad3ab5a668481ce02b83e7395059f0"
START: dict[str, Any] = {
    "event": "start",
    "sequenceNumber": "1",
    "start": {
        "accountSid": "AC123",
        "streamSid": STREAM,
        "callSid": "CA123",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"persona": "You are patient."},
    },
    "streamSid": STREAM,
}


def spoken(payload: Any, **fields: Any) -> str:
    inner = {"track": "inbound", "chunk": "1", "timestamp": "5", "payload": payload} | fields
    return json.dumps({"event": "media", "sequenceNumber": "3", "media": inner, "streamSid": STREAM})


def test_a_call_is_read_from_its_start_to_its_stop() -> None:
    assert parse('{"event": "connected", "protocol": "Call", "version": "1.0.0"}') is None
    assert parse(json.dumps(START)) == Start(STREAM, "CA123", {"persona": "You are patient."})
    assert parse(
        f'{{"event": "dtmf", "streamSid": "{STREAM}", "dtmf": {{"track": "inbound_track", "digit": "1"}}}}'
    ) == (Digit("1"))
    assert parse(f'{{"event": "mark", "streamSid": "{STREAM}", "mark": {{"name": "hello"}}}}') == Mark("hello")
    assert parse(f'{{"event": "stop", "streamSid": "{STREAM}", "stop": {{"callSid": "CA123"}}}}') == Stop()


@given(st.binary(min_size=1, max_size=400))
def test_sound_comes_and_goes_in_mulaw(data: bytes) -> None:
    message = parse(spoken(base64.b64encode(data).decode()))
    assert isinstance(message, Media)
    np.testing.assert_array_equal(message.pcm, MU_LAW.decode(data))
    back = json.loads(media(STREAM, message.pcm))
    assert (back["event"], back["streamSid"]) == ("media", STREAM)
    np.testing.assert_array_equal(MU_LAW.decode(base64.b64decode(back["media"]["payload"])), message.pcm)


def test_marks_and_clears_name_their_stream() -> None:
    assert json.loads(mark(STREAM, "end")) == {"event": "mark", "streamSid": STREAM, "mark": {"name": "end"}}
    assert json.loads(clear(STREAM)) == {"event": "clear", "streamSid": STREAM}


def test_the_other_track_and_what_twilio_may_add_are_passed_over() -> None:
    assert parse(spoken("AAAA", track="outbound")) is None
    assert parse('{"event": "weather", "weather": "fine"}') is None


@given(st.text(max_size=100))
def test_noise_is_a_message_or_one_sentence(noise: str) -> None:
    with suppress(MessageError):  # and nothing else
        parse(noise)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[1]", "has no event"),
        ('{"event": 3}', "has no event"),
        ('{"event": "start"}', "start: expected an object"),
        ('{"event": "media", "media": {}}', r"media\.payload: expected a string"),
        (spoken("AAA"), r"media\.payload: expected base64"),
        (spoken("ÄÄÄÄ"), r"media\.payload: expected base64"),
        (json.dumps(START).replace("8000", "16000"), r"start\.mediaFormat: expected .*8000"),
        (json.dumps(START).replace("callSid", "callsid"), r"start\.callSid: expected a string"),
    ],
)
def test_what_is_no_message_is_one_sentence(text: str, words: str) -> None:
    with pytest.raises(MessageError, match=words):
        parse(text)
