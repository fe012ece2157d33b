"""Codes on the wire: high bit first, no wasted bit but the last byte's, and nothing accepted that was not packed."""

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.codes import CodePacker
from antiphon.errors import CodesError

packers = st.builds(CodePacker, codebooks=st.integers(1, 40), cardinality=st.integers(2, 70_000))


@st.composite
def packers_and_codes(draw: st.DrawFn) -> tuple[CodePacker, list[int]]:
    packer = draw(packers)
    code = st.integers(0, packer.cardinality - 1)
    return packer, draw(st.lists(code, min_size=packer.codebooks, max_size=packer.codebooks))


@given(packers_and_codes())
def test_unpacking_gives_back_what_was_packed(case: tuple[CodePacker, list[int]]) -> None:
    packer, codes = case
    data = packer.pack(np.array(codes))
    assert packer.unpack(data).tolist() == codes
    assert len(data) == packer.size_bytes == -(-packer.codebooks * packer.bits_per_code // 8)


@given(packers, st.binary(max_size=100))
def test_any_bytes_unpack_to_codes_that_pack_to_the_same_bytes_or_raise(packer: CodePacker, data: bytes) -> None:
    try:
        codes = packer.unpack(data)
    except CodesError:
        return
    assert packer.pack(codes) == data


@given(packers, st.lists(st.binary(max_size=100), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_many_frames_unpack_as_each_alone(packer: CodePacker, frames: list[bytes], random: Random) -> None:
    frames = [data.ljust(packer.size_bytes, random.randbytes(1))[: packer.size_bytes] for data in frames]
    try:
        alone = [packer.unpack(data).tolist() for data in frames]
    except CodesError:
        with pytest.raises(CodesError):
            packer.unpack_frames(np.array([list(data) for data in frames], np.uint8))
    else:
        together = packer.unpack_frames(np.array([list(data) for data in frames], np.uint8))
        assert together.tolist() == alone


def test_a_published_frame_takes_eleven_bytes() -> None:
    assert CodePacker(codebooks=8, cardinality=2048).size_bytes == 11


def test_bits_are_laid_codebook_by_codebook_high_bit_first() -> None:
    packer = CodePacker(codebooks=8, cardinality=2048)
    assert packer.pack(np.array([1024, 0, 0, 0, 0, 0, 0, 0]))[0] == 0b1000_0000
    assert packer.pack(np.array([0, 0, 0, 0, 0, 0, 0, 1]))[-1] == 0b0000_0001
    assert CodePacker(codebooks=2, cardinality=8).pack(np.array([0b101, 0b011])) == bytes([0b1010_1100])


def test_a_model_that_only_listens_has_an_empty_frame() -> None:
    packer = CodePacker(codebooks=0, cardinality=2048)
    assert packer.pack(np.zeros(0, np.int32)) == b""
    assert packer.unpack(b"").shape == (0,)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\0" * 10, "expected 11 bytes .* got 10"),
        (b"\0" * 12, "expected 11 bytes .* got 12"),
        (b"", "got 0"),
    ],
)
def test_a_wrong_length_is_named(data: bytes, message: str) -> None:
    with pytest.raises(CodesError, match=message):
        CodePacker(codebooks=8, cardinality=2048).unpack(data)


def test_a_code_outside_the_codebook_is_named() -> None:
    packer = CodePacker(codebooks=3, cardinality=1000)  # 10 bits would hold 1023
    wire = CodePacker(codebooks=3, cardinality=1024).pack(np.array([5, 1000, 7]))
    with pytest.raises(CodesError, match=r"code 1000 of codebook 1 is outside \[0, 1000\)"):
        packer.unpack(wire)
    with pytest.raises(CodesError, match="code -1 of codebook 2"):
        packer.pack(np.array([5, 6, -1]))


def test_stray_padding_bits_are_refused() -> None:
    with pytest.raises(CodesError, match="padding bits"):
        CodePacker(codebooks=2, cardinality=8).unpack(bytes([0b0000_0001]))


def test_a_wrong_shape_is_refused_before_it_is_sent() -> None:
    with pytest.raises(CodesError, match="expected 8 codes"):
        CodePacker(codebooks=8, cardinality=2048).pack(np.zeros((8, 1), np.int32))


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        ([1, 2.5], r"expected whole numbers, got 2.5$"),
        ([1, float("nan")], r"one that is not finite"),
        ([1, float("inf")], r"one that is not finite"),
        (["1", "2"], r"expected whole numbers, got <U1"),
        ([True, False], r"expected whole numbers, got bool"),
        ([[1], [1, 2]], r"lists of several lengths"),
        (None, r"expected whole numbers, got object"),
        ([1, 2, 3], r"expected 2 codes in a frame, got shape \(3,\)"),
        ([], r"expected 2 codes"),
        ([1.0, 2048.0], r"code 2048 of codebook 1"),
    ],
)
def test_what_is_no_frame_of_codes_is_said_in_a_sentence(codes: Any, words: str) -> None:
    with pytest.raises(CodesError, match=words):
        CodePacker(2, 2048).pack(codes)


def test_lists_and_whole_floats_are_codes() -> None:
    packer = CodePacker(2, 2048)
    assert packer.pack([3, 2047]) == packer.pack(np.array([3.0, 2047.0])) == packer.pack(np.array([3, 2047], np.int32))
