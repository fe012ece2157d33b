"""Codes as bits: the payload of a frame on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from antiphon.errors import CodesError

Codes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class CodePacker:
    """Packs one frame's codes, and unpacks them with every check that a stranger's bytes deserve.

    Each code takes `ceil(log2(cardinality))` bits, codebook by codebook, high bit first; zero bits fill the last
    byte. Eight codebooks of 2048 take 11 bytes.
    """

    codebooks: int
    cardinality: int

    @cached_property
    def bits_per_code(self) -> int:
        """Bits that hold any code of the codebook."""
        return (self.cardinality - 1).bit_length()

    @cached_property
    def size_bytes(self) -> int:
        """Bytes of a packed frame."""
        return (self.codebooks * self.bits_per_code + 7) // 8

    @cached_property
    def _shifts(self) -> npt.NDArray[np.int32]:
        return np.arange(self.bits_per_code - 1, -1, -1, dtype=np.int32)

    def pack(self, codes: npt.NDArray[np.integer[Any]]) -> bytes:
        """Packs `codes` [K], integers in `[0, cardinality)`.

        Raises:
            CodesError: another shape, or a code out of range.
        """
        if codes.shape != (self.codebooks,):
            raise CodesError(f"codes: expected {self.codebooks} codes in a frame, got shape {codes.shape}")
        self._check_range(codes)
        bits = (codes[:, None] >> self._shifts) & 1  # [K, bits_per_code]
        return np.packbits(bits.astype(np.uint8)).tobytes()

    def unpack(self, data: bytes) -> Codes:
        """Unpacks one frame to codes [K].

        Raises:
            CodesError: a wrong length, a code out of range, or a stray bit in the padding.
        """
        if len(data) != self.size_bytes:
            raise CodesError(
                f"codes: expected {self.size_bytes} bytes "
                f"({self.codebooks} codes of {self.bits_per_code} bits), got {len(data)}"
            )
        codes: Codes = self.unpack_frames(np.frombuffer(data, np.uint8)[None])[0]
        return codes

    def unpack_frames(self, packed: npt.NDArray[np.uint8]) -> Codes:
        """Unpacks many frames [T, size_bytes] to codes [T, K].

        Raises:
            CodesError: a code out of range, or a stray bit in the padding.
        """
        bits = np.unpackbits(packed, axis=1)
        used = self.codebooks * self.bits_per_code
        if bits[:, used:].any():
            raise CodesError("codes: the padding bits after the last code must be zero")
        codes = bits[:, :used].reshape(len(packed), self.codebooks, self.bits_per_code) @ (1 << self._shifts)
        self._check_range(codes)
        return codes.astype(np.int32)

    def _check_range(self, codes: npt.NDArray[np.integer[Any]]) -> None:
        out_of_range = (codes < 0) | (codes >= self.cardinality)
        if out_of_range.any():
            at = np.unravel_index(int(out_of_range.argmax()), codes.shape)
            raise CodesError(
                f"codes: code {int(codes[at])} of codebook {int(at[-1])} is outside [0, {self.cardinality})"
            )
