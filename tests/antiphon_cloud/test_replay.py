"""Conversations run offline."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antiphon_cloud.errors import UserCodesError
from antiphon_cloud.model_directory import ModelDirectory
from antiphon_cloud.replay import read_user_codes, replay, write
from tests.support.language_models import GOLDEN, expected, micro_runner

SPEC = micro_runner(1).spec  # 2 user codebooks of 24


def test_a_seed_is_a_conversation() -> None:
    directory = ModelDirectory.open(GOLDEN / "moshi-tiny")
    user = expected("moshi-tiny")["user_codes"][:8]
    first, again, other = (replay(directory, user, seed=seed)["tokens"] for seed in (5, 5, 6))
    assert first.shape == (7, 9)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    codes = np.arange(24).reshape(12, 2)
    for dtype in (np.int16, np.uint8, np.int64):
        np.save(tmp_path / "in.npy", codes.astype(dtype))
        found = read_user_codes(tmp_path / "in.npy", SPEC)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, codes)
    write(tmp_path / "out", {"tokens": codes})
    with np.load(tmp_path / "out") as arrays:
        np.testing.assert_array_equal(arrays["tokens"], codes)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((4, 3), np.int32), r"expected shape \[frames, 2\], got \[4, 3\]"),
        (np.zeros(4, np.int32), r"got \[4\]"),
        (np.zeros((0, 2), np.int32), r"got \[0, 2\]"),
        (np.zeros((4, 2)), "expected integers, got float64"),
        (np.zeros((4, 2), bool), "expected integers, got bool"),
        (np.array([[1, 2], [3, 24]]), r"code 24 of frame 1, codebook 1 is outside \[0, 24\)"),
        (np.array([[-1, 2]]), "code -1 of frame 0, codebook 0"),
        (np.array([[{}, 2]], dtype=object), "not a whole .npy file of numbers"),
    ],
)
def test_codes_that_the_model_cannot_hear_are_named(codes: Any, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", codes)
    with pytest.raises(UserCodesError, match=message) as raised:
        read_user_codes(tmp_path / "in.npy", SPEC)
    assert "\n" not in str(raised.value)


def test_files_that_are_no_array_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserCodesError, match=r"gone\.npy: cannot be read"):
        read_user_codes(tmp_path / "gone.npy", SPEC)
    np.save(tmp_path / "whole.npy", np.zeros((400, 2), np.int32))
    whole = (tmp_path / "whole.npy").read_bytes()
    for content in (b"", b"text", whole[:9], whole[:100], whole[:-1], b"PK\x03\x04", whole[:10] + b"{" * 118):
        (tmp_path / "bad.npy").write_bytes(content)
        with pytest.raises(UserCodesError, match=r"bad\.npy: not a whole \.npy file"):
            read_user_codes(tmp_path / "bad.npy", SPEC)
