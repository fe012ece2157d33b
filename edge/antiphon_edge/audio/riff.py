"""The header of a wav: how much was promised, which libsndfile does not tell, and all that a pipe needs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

UNKNOWN_BYTES = 0x7FFF_0000  # from here on (and 0) a length means that the writer did not know it: ffmpeg, sox, arecord
MOST_HEADER_BYTES = 1 << 20
MOST_CHANNELS = 1024  # as libsndfile

_PCM, _FLOAT, _ALAW, _ULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_SUBTYPES = {  # soundfile's names
    (_PCM, 8): "PCM_U8",
    (_PCM, 16): "PCM_16",
    (_PCM, 24): "PCM_24",
    (_PCM, 32): "PCM_32",
    (_FLOAT, 32): "FLOAT",
    (_FLOAT, 64): "DOUBLE",
    (_ALAW, 8): "ALAW",
    (_ULAW, 8): "ULAW",
}


@dataclass(frozen=True, slots=True)
class WavHeader:
    """What stands before the samples."""

    subtype: str | None
    """As soundfile calls it; None for a compressed one, whose samples are not all of one size."""
    rate_hz: int
    channels: int
    bytes_per_s: int
    sample_bytes: int
    """Of all channels together."""
    data_bytes: int | None
    """Of samples; None where the header's writer did not know."""
    header_bytes: int

    def seconds(self, data_bytes: int) -> float:
        """How long so many bytes of samples last."""
        return data_bytes / self.bytes_per_s


def raw_header(rate_hz: int) -> WavHeader:
    """Stands for the header of bare samples, 16-bit of one channel, which have none."""
    return WavHeader("PCM_16", rate_hz, 1, 2 * rate_hz, 2, None, 0)


def read_header(read: Callable[[int], bytes]) -> WavHeader | None:
    """The header of a wav, up to its first sample; None where it is none.

    Args:
        read: the next so many bytes; fewer at the end.
    """
    start = read(12)
    if start[:4] not in (b"RIFF", b"RF64") or start[8:] != b"WAVE":
        return None
    at, form = 12, b""
    while at < MOST_HEADER_BYTES:
        chunk = read(8)
        if len(chunk) < 8:
            return None
        at += 8
        name, size = chunk[:4], int.from_bytes(chunk[4:], "little")
        if name == b"data":
            return _header(form, size, at)
        size += size % 2  # chunks begin at even bytes
        if size > MOST_HEADER_BYTES:
            return None
        content = read(size)
        at += size
        if name == b"fmt ":
            form = content
    return None


def _header(form: bytes, data_bytes: int, header_bytes: int) -> WavHeader | None:
    if len(form) < 16:
        return None
    tag, channels, rate_hz, bytes_per_s, sample_bytes, bits = struct.unpack("<HHIIHH", form[:16])
    if tag == _EXTENSIBLE and len(form) >= 26:
        tag = int.from_bytes(form[24:26], "little")
    subtype = _SUBTYPES.get((tag, bits))
    if subtype is not None:
        sample_bytes = channels * bits // 8
        bytes_per_s = rate_hz * sample_bytes
    if not (0 < channels <= MOST_CHANNELS and rate_hz and bytes_per_s):
        return None
    known = 0 < data_bytes < UNKNOWN_BYTES
    return WavHeader(subtype, rate_hz, channels, bytes_per_s, sample_bytes, data_bytes if known else None, header_bytes)
