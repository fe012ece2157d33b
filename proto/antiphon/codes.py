"""Codes as bits: the payload of a frame on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from antiphon.errors import CodesError

Codes = npt.NDArray[np.int32]

STRAY_BITS = "codes: the padding bits after the last code must be zero"


@dataclass(frozen=True)
class CodePacker:
    """Packs one frame's codes, and unpacks them with all checks that untrusted bytes need.

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
    def _padding_bits(self) -> int:
        return 8 * self.size_bytes - self.codebooks * self.bits_per_code

    @cached_property
    def _shifts(self) -> list[int]:
        """The shift of each code in a frame taken as one number."""
        end = self._padding_bits + self.codebooks * self.bits_per_code
        return list(range(end - self.bits_per_code, self._padding_bits - 1, -self.bits_per_code))

    # Handles a frame as one number: numpy's calls would cost five times as much as these few shifts.

    def pack(self, codes: npt.ArrayLike) -> bytes:
        """Packs `codes` [K], whole numbers in `[0, cardinality)`, as an array or anything array-like.

        Raises:
            CodesError: another shape, a fractional value, or a code out of range.
        """
        if not isinstance(codes, np.ndarray) or codes.dtype.kind not in "iu":
            codes = _whole_numbers(codes)
        if codes.shape != (self.codebooks,):
            raise CodesError(f"codes: expected {self.codebooks} codes in a frame, got shape {codes.shape}")
        frame = 0
        for codebook, code in enumerate(codes.tolist()):
            if not 0 <= code < self.cardinality:
                raise self._out_of_range(code, codebook)
            frame = frame << self.bits_per_code | code
        return (frame << self._padding_bits).to_bytes(self.size_bytes)

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
        frame, ones = int.from_bytes(data), (1 << self.bits_per_code) - 1
        if frame & ((1 << self._padding_bits) - 1):
            raise CodesError(STRAY_BITS)
        codes = [frame >> shift & ones for shift in self._shifts]
        for codebook, code in enumerate(codes):
            if code >= self.cardinality:
                raise self._out_of_range(code, codebook)
        return np.array(codes, np.int32)

    def unpack_frames(self, packed: npt.NDArray[np.uint8]) -> Codes:
        """Unpacks many frames [T, size_bytes] to codes [T, K].

        Raises:
            CodesError: a code out of range, or a stray bit in the padding.
        """
        bits = np.unpackbits(packed, axis=1)
        used = self.codebooks * self.bits_per_code
        if bits[:, used:].any():
            raise CodesError(STRAY_BITS)
        places = 1 << np.arange(self.bits_per_code - 1, -1, -1, dtype=np.int32)
        codes: Codes = bits[:, :used].reshape(len(packed), self.codebooks, self.bits_per_code) @ places
        if (beyond := codes >= self.cardinality).any():
            frame, codebook = np.unravel_index(int(beyond.argmax()), codes.shape)
            raise self._out_of_range(int(codes[frame, codebook]), int(codebook))
        return codes.astype(np.int32)

    def _out_of_range(self, code: int, codebook: int) -> CodesError:
        return CodesError(f"codes: code {code} of codebook {codebook} is outside [0, {self.cardinality})")


def _whole_numbers(codes: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Codes of a list or an array, also of floats, as int64.

    Raises:
        CodesError: they are not whole numbers.
    """
    try:
        array = np.asarray(codes)
    except (TypeError, ValueError):
        raise CodesError("codes: expected one frame of whole numbers, got lists of several lengths") from None
    if array.dtype.kind not in "iuf":
        raise CodesError(f"codes: expected whole numbers, got {array.dtype}")
    if array.dtype.kind == "f" and not (np.abs(array) < 2**31).all():  # also refuses NaN
        raise CodesError("codes: expected whole numbers, got one that is not finite or far too large")
    whole = array.astype(np.int64)
    if (whole != array).any():
        raise CodesError(f"codes: expected whole numbers, got {array[whole != array].flat[0]:g}")
    return whole
