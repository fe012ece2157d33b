"""AudioSocket's messages, however the network cuts them."""

from __future__ import annotations

import struct
from contextlib import suppress
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.audiosocket import (
    RATES_HZ,
    Digit,
    Failure,
    Framer,
    HangUp,
    Identity,
    Message,
    Sound,
    hang_up,
    sound,
)

CALL = UUID("40325ec2-5efd-4bd3-805f-53576e581d13")
IDENTITY = bytes.fromhex("010010") + CALL.bytes  # as Asterisk 22 writes it
TONE = np.array([0.5, -0.5, 0.25], np.float32)


def shown(message: Message) -> object:
    """A message as what can be compared."""
    return (message.rate_hz, message.pcm.tolist()) if isinstance(message, Sound) else message


def written(rate_hz: int, samples: list[int]) -> bytes:
    kind = {rate: kind for kind, rate in RATES_HZ.items()}[rate_hz]
    return struct.pack(f">BH{2 * len(samples)}s", kind, 2 * len(samples), struct.pack(f"<{len(samples)}h", *samples))


MESSAGES = st.one_of(
    st.just((IDENTITY, Identity(CALL))),
    st.sampled_from("0123456789*#ABCD").map(lambda key: (b"\x03\x00\x01" + key.encode(), Digit(key))),
    st.just((b"\x00\x00\x00", HangUp())),
    st.integers(0, 255).map(lambda code: (bytes([0xFF, 0, 1, code]), Failure(code))),
    st.tuples(st.sampled_from(list(RATES_HZ.values())), st.lists(st.integers(-32_768, 32_767), max_size=200)).map(
        lambda made: (written(*made), (made[0], [sample / 32_768 for sample in made[1]]))
    ),
)


@given(st.lists(MESSAGES, max_size=10), st.data())
def test_messages_are_read_wherever_the_stream_is_cut(
    messages: list[tuple[bytes, object]], data: st.DataObject
) -> None:
    stream = b"".join(raw for raw, _ in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    framer, found = Framer(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += [shown(message) for message in framer.feed(stream[start:end])]
    assert found == [message for _, message in messages]
    assert not framer.inside


@given(st.binary(max_size=400))
def test_noise_is_messages_or_one_sentence(noise: bytes) -> None:
    with suppress(MessageError):  # and nothing else
        list(Framer().feed(noise))


def test_a_message_cut_in_half_waits_for_its_other_half() -> None:
    framer = Framer()
    assert list(framer.feed(IDENTITY[:7])) == []
    assert framer.inside
    assert list(framer.feed(IDENTITY[7:])) == [Identity(CALL)]


@pytest.mark.parametrize("rate_hz", [8_000, 24_000])
def test_sound_goes_out_as_it_would_come_in(rate_hz: int) -> None:
    (message,) = Framer().feed(sound(rate_hz, TONE))
    assert shown(message) == (rate_hz, TONE.tolist())


def test_sound_longer_than_a_message_takes_several() -> None:
    first, second = Framer().feed(sound(8_000, np.zeros(40_000, np.float32)))
    assert isinstance(first, Sound)
    assert isinstance(second, Sound)
    assert len(first.pcm) + len(second.pcm) == 40_000


def test_a_hang_up_is_three_zero_bytes() -> None:
    assert hang_up() == b"\0\0\0"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"GET / HTTP/1.1\r\n" + b"x" * 20_000, "kind 0x47 are not known: is it AudioSocket"),
        (b"\x01\x00\x02ab", "kind 0x01 with 2 bytes"),
        (b"\x03\x00\x01\xff", "kind 0x03 with 1 bytes"),
        (b"\x10\x00\x03abc", "sound of 3 bytes, which is"),
    ],
    ids=["a browser", "half a UUID", "no key", "half a sample"],
)
def test_what_is_no_message_is_one_sentence(raw: bytes, words: str) -> None:
    with pytest.raises(MessageError, match=words):
        list(Framer().feed(raw))
