"""Codes in a numpy file: one frame a row."""

from __future__ import annotations

import tokenize
from pathlib import Path

import numpy as np

from antiphon.codes import Codes
from antiphon.errors import AntiphonError


class CodesFileError(AntiphonError):
    """A file of codes that is missing, damaged, or does not suit the codec or the model."""


def read_codes(path: Path, codebooks: int, cardinality: int) -> Codes:
    """Reads a .npy of codes [frames, codebooks], of any integer type; int32 comes back.

    Raises:
        CodesFileError: the file is missing or no .npy, or its shape or a code does not fit.
    """
    try:
        codes = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise CodesFileError(f"{path}: cannot be read ({error.strerror}); name a .npy file of codes") from error
    except (ValueError, SyntaxError, tokenize.TokenError) as error:
        raise CodesFileError(f"{path}: not a whole .npy file of numbers ({error}); encode a wav again") from error
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
