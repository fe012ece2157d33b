"""Messages in msgpack, as moshi-server's serde writes and reads them."""

from __future__ import annotations

from contextlib import suppress

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from antiphon.errors import AntiphonError
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.moshi_server.packing import pack, samples, unpack

SOUND = arrays(np.float32, st.integers(0, 100), elements=st.floats(-1, 1, width=32))


@given(SOUND)
def test_sound_crosses_as_single_floats(pcm: np.ndarray) -> None:
    data = pack("Audio", pcm=pcm)
    assert data == msgpack.packb({"type": "Audio", "pcm": pcm.tolist()}, use_single_float=True)
    np.testing.assert_array_equal(samples(unpack(data), "pcm"), pcm)


def test_times_cross_as_double_floats() -> None:
    word = {"type": "Word", "text": "hello", "start_time": 3.28}
    assert pack("Word", text="hello", start_time=3.28) == msgpack.packb(word)


def test_whole_numbers_and_double_floats_are_sound_too() -> None:
    packed = msgpack.packb({"type": "Audio", "pcm": [0, 0.5, -1]})
    np.testing.assert_array_equal(samples(unpack(packed), "pcm"), np.array([0, 0.5, -1], np.float32))


@given(st.binary(max_size=200))
def test_noise_is_a_message_or_one_sentence(noise: bytes) -> None:
    with suppress(MessageError):  # and nothing else
        unpack(noise)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no msgpack"),
        (b"\x01\x01", "no msgpack"),
        (b"\x91" * 5000, "no msgpack"),
        (b"\xa1\xff", "no msgpack"),
        (msgpack.packb([1]), "no map with a type"),
        (msgpack.packb({"type": 3}), "no map with a type"),
        (msgpack.packb({3: 3}), "no msgpack"),
    ],
)
def test_what_is_no_message_is_one_sentence(data: bytes, words: str) -> None:
    with pytest.raises(MessageError, match=words):
        unpack(data)


@pytest.mark.parametrize(
    ("pcm", "words"),
    [
        (None, r"Audio\.pcm: expected a list, got nothing"),
        ("loud", r"Audio\.pcm: expected a list, got a str"),
        (["loud"], r"Audio\.pcm: expected a list of floats"),
        ([[0.5]], r"Audio\.pcm: expected a list of floats"),
        ([[0.5], 1], r"Audio\.pcm: expected a list of floats"),
        ([2**64 - 1, 0.5], "beyond full scale"),
        ([1e300], "not numbers"),
        ([float("nan")], "not numbers"),
        ([20_000.0], "beyond full scale"),
    ],
)
def test_what_is_no_sound_is_one_sentence(pcm: object, words: str) -> None:
    with pytest.raises(AntiphonError, match=words):
        samples(unpack(msgpack.packb({"type": "Audio", "pcm": pcm})), "pcm")
