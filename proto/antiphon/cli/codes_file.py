"""Codes in a numpy file, one frame per row."""

from __future__ import annotations

import tokenize
import warnings
from pathlib import Path

import numpy as np

from antiphon.codes import Codes
from antiphon.errors import AntiphonError
from antiphon.plain_text import plain_line
from antiphon.regular_file import open_regular

REASON_CHARACTERS = 200


class CodesFileError(AntiphonError):
    """A file of codes that is missing, damaged, or does not suit the codec or the model."""


def read_codes(path: Path, codebooks: int, cardinality: int) -> Codes:
    """Reads a .npy of codes [frames, codebooks] of any integer type and returns int32.

    Raises:
        CodesFileError: the file is missing or no .npy, or its shape or a code does not fit.
    """
    try:
        with open_regular(path):  # np.load would block on a pipe
            pass
        with warnings.catch_warnings(action="ignore"):  # sizes that overflow, numbers that run into words
            codes = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise CodesFileError(f"{path}: cannot be read ({error.strerror}); name a .npy file of codes") from error
    except (ValueError, SyntaxError, tokenize.TokenError, ArithmeticError, MemoryError, RecursionError) as error:
        reason = plain_line(str(error))[:REASON_CHARACTERS] or "its header is too deep"
        raise CodesFileError(f"{path}: not a whole .npy file of numbers ({reason}); encode a wav again") from error
    if not np.issubdtype(codes.dtype, np.integer):
        raise CodesFileError(f"{path}: expected integers, got {codes.dtype}")
    if codes.ndim != 2 or codes.shape[1] != codebooks:
        raise CodesFileError(f"{path}: expected shape [frames, {codebooks}], got {list(codes.shape)}")
    if not len(codes):
        raise CodesFileError(f"{path}: holds no frames; encode a wav with some sound in it")
    wrong = (codes < 0) | (codes >= cardinality)
    if wrong.any():
        frame, codebook = (int(index) for index in np.argwhere(wrong)[0])
        raise CodesFileError(
            f"{path}: code {int(codes[frame, codebook])} of frame {frame}, codebook {codebook} "
            f"is outside [0, {cardinality})"
        )
    return codes.astype(np.int32)
