"""G.711 in both laws, beside libsndfile's."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from antiphon_gateway.wire.g711 import A_LAW, G711, MU_LAW

LAWS = pytest.mark.parametrize(("law", "subtype"), [(MU_LAW, "ULAW"), (A_LAW, "ALAW")], ids=["µ-law", "A-law"])
CODES = bytes(range(256))


@LAWS
def test_each_code_stands_for_libsndfiles_level(law: G711, subtype: str) -> None:
    theirs, _ = soundfile.read(
        io.BytesIO(CODES), dtype="float32", samplerate=8000, channels=1, format="RAW", subtype=subtype
    )
    np.testing.assert_array_equal(law.decode(CODES), theirs)


@LAWS
def test_a_level_is_written_as_its_own_code(law: G711, subtype: str) -> None:
    levels = law.decode(CODES)
    np.testing.assert_array_equal(law.decode(law.encode(levels)), levels)


@LAWS
def test_every_sample_gets_a_level_next_to_it(law: G711, subtype: str) -> None:
    samples = np.arange(-32_768, 32_768).astype(np.float32) / np.float32(32_768)
    levels = np.unique(law.decode(CODES))
    above = np.searchsorted(levels, samples).clip(1, len(levels) - 1)
    written = law.decode(law.encode(samples))
    assert np.all((written == levels[above - 1]) | (written == levels[above]))


@LAWS
def test_what_is_beyond_full_scale_is_clipped(law: G711, subtype: str) -> None:
    loud = np.array([3.0, -3.0], np.float32)
    assert law.encode(loud) == law.encode(np.sign(loud).astype(np.float32))


def test_silence_is_the_byte_that_telephony_knows() -> None:
    silence = np.zeros(2, np.float32)
    assert (MU_LAW.encode(silence), A_LAW.encode(silence)) == (b"\xff\xff", b"\xd5\xd5")
