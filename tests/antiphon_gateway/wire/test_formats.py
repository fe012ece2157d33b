"""PCM, G.711 and Opus as protocols of JSON carry them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.formats import FORMATS, OPUS, PCM16, Format, format_named
from antiphon_gateway.wire.g711 import A_LAW, G711, MU_LAW
from antiphon_gateway.wire.pcm16 import from_base64, pcm_from_bytes, to_base64


@pytest.mark.parametrize("law", [MU_LAW, A_LAW], ids=["mu-law", "A-law"])
def test_every_code_of_g711_comes_back(law: G711) -> None:
    codes = np.arange(256, dtype=np.uint8)
    again = np.frombuffer(law.encode(law.decode(codes.tobytes())), np.uint8)
    different = codes[again != codes]
    assert list(different) in ([], [0x7F])  # of µ-law's two zeros one is enough


@pytest.mark.parametrize(
    ("law", "code", "level"),
    [(MU_LAW, 0xFF, 0), (MU_LAW, 0x80, 32_124), (MU_LAW, 0x00, -32_124), (A_LAW, 0xD5, 8), (A_LAW, 0x2A, -32_256)],
)
def test_the_levels_are_those_of_the_recommendation(law: G711, code: int, level: int) -> None:
    assert law.decode(bytes((code,)))[0] * 32_768 == level


@given(st.lists(st.floats(-2, 2, width=32), max_size=50))
def test_g711_is_off_by_a_sixteenth_at_most_and_clips(samples: list[float]) -> None:
    pcm = np.array(samples, np.float32)
    heard = MU_LAW.decode(MU_LAW.encode(pcm))
    assert (np.abs(heard - np.clip(pcm, -0.98, 0.98)) <= 1 / 16 * np.abs(pcm) + 0.001).all()


@pytest.mark.parametrize("sound", FORMATS, ids=lambda sound: sound.name)
def test_a_tone_comes_back_in_every_format(sound: Format) -> None:
    tone = (0.3 * np.sin(np.arange(sound.rate_hz) * 2 * np.pi * 400 / sound.rate_hz)).astype(np.float32)
    read, write = sound.reader(), sound.writer()
    block = sound.rate_hz * 8 // 100
    heard = np.concatenate([read(write(tone[at : at + block])) for at in range(0, len(tone), block)])
    assert len(heard) >= 0.96 * len(tone)
    assert float(np.sqrt(np.mean(heard[len(heard) // 2 :] ** 2))) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)


def test_a_format_has_two_names_and_no_other_is_taken() -> None:
    assert format_named("audio/pcm") is format_named("pcm16") is PCM16
    assert format_named("opus") is OPUS
    with pytest.raises(MessageError, match="audio format 'mp3': use one of audio/pcm"):
        format_named("mp3")


def test_half_a_sample_and_what_is_no_base64_get_a_sentence() -> None:
    with pytest.raises(MessageError, match="sound of 3 bytes, which is half a 16-bit sample too many"):
        pcm_from_bytes(b"abc")
    with pytest.raises(MessageError, match="no base64"):
        from_base64("!!!")
    assert from_base64(to_base64(b"\x00\xff")) == b"\x00\xff"
