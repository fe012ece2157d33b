"""Codes in numpy files: what does not fit is named."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antiphon.cli.codes_file import CodesFileError, read_codes


def test_any_integers_are_read_as_int32(tmp_path: Path) -> None:
    codes = np.arange(24).reshape(12, 2)
    for dtype in (np.int16, np.uint8, np.int64):
        np.save(tmp_path / "in.npy", codes.astype(dtype))
        found = read_codes(tmp_path / "in.npy", 2, 24)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, codes)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((4, 3), np.int32), r"expected shape \[frames, 2\], got \[4, 3\]"),
        (np.zeros(4, np.int32), r"got \[4\]"),
        (np.zeros((0, 2), np.int32), "holds no frames"),
        (np.zeros((4, 2)), "expected integers, got float64"),
        (np.zeros((4, 2), bool), "expected integers, got bool"),
        (np.array([[1, 2], [3, 24]]), r"code 24 of frame 1, codebook 1 is outside \[0, 24\)"),
        (np.array([[-1, 2]]), "code -1 of frame 0, codebook 0"),
        (np.array([[{}, 2]], dtype=object), "not a whole .npy file of numbers"),
    ],
)
def test_codes_that_do_not_fit_are_named(codes: Any, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", codes)
    with pytest.raises(CodesFileError, match=message) as raised:
        read_codes(tmp_path / "in.npy", 2, 24)
    assert "\n" not in str(raised.value)


def test_files_that_are_no_array_are_named(tmp_path: Path) -> None:
    with pytest.raises(CodesFileError, match=r"gone\.npy: cannot be read"):
        read_codes(tmp_path / "gone.npy", 2, 24)
    np.save(tmp_path / "whole.npy", np.zeros((400, 2), np.int32))
    whole = (tmp_path / "whole.npy").read_bytes()
    for content in (b"", b"text", whole[:9], whole[:100], whole[:-1], b"PK\x03\x04", whole[:10] + b"{" * 118):
        (tmp_path / "bad.npy").write_bytes(content)
        with pytest.raises(CodesFileError, match=r"bad\.npy: not a whole \.npy file"):
            read_codes(tmp_path / "bad.npy", 2, 24)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "in.npy")
    with pytest.raises(CodesFileError, match=r"in\.npy: cannot be read \(it is no regular file\)"):
        read_codes(tmp_path / "in.npy", 2, 24)


@pytest.mark.parametrize(
    "header",
    [
        f"{{'descr':'<i4','fortran_order':False,'shape':({1 << 62},2)}}",
        f"{{'descr':'<i4','fortran_order':False,'shape':({1 << 70},2)}}",
        "{'descr':'<i4','fortran_order':False,'shape':(-4,2)}",
        "(" * 9000,
        "-" * 9000 + "1",
        "{'descr':[('\\x1b','<i4')],'fortran_order':False,'shape':(4,2)}",
        "{1if 2else 3}",
    ],
)
def test_whatever_a_header_says_it_is_one_sentence(header: str, tmp_path: Path) -> None:
    data = header.encode() + b"\n"
    np.save(tmp_path / "in.npy", np.zeros((4, 2), np.int32))
    whole = (tmp_path / "in.npy").read_bytes()
    (tmp_path / "in.npy").write_bytes(whole[:8] + len(data).to_bytes(2, "little") + data + whole[128:])
    with pytest.raises(CodesFileError, match=r"in\.npy: ") as refused:
        read_codes(tmp_path / "in.npy", 2, 24)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400 + len(str(tmp_path))
