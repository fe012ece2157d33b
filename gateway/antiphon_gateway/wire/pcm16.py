"""Samples of 16 bits, little endian, as most protocols carry them."""

from __future__ import annotations

import base64
import binascii

import numpy as np

from antiphon_edge.audio.pcm import Pcm
from antiphon_gateway.errors import MessageError


def pcm_from_bytes(data: bytes) -> Pcm:
    """Samples [N] of 16-bit bytes.

    Raises:
        MessageError: half a sample is left over.
    """
    if len(data) % 2:
        raise MessageError(f"sound of {len(data)} bytes, which is half a 16-bit sample too many: send whole samples")
    pcm: Pcm = np.multiply(np.frombuffer(data, "<i2"), np.float32(1 / 32_768), dtype=np.float32)  # which is exact
    return pcm


def pcm_to_bytes(pcm: Pcm) -> bytes:
    """The bytes of samples [N]; what is beyond full scale is clipped."""
    return np.clip(np.rint(pcm * 32_767), -32_768, 32_767).astype("<i2").tobytes()


def from_base64(text: str) -> bytes:
    """The bytes of base64.

    Raises:
        MessageError: it is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MessageError("sound that is no base64: encode its bytes in base64, with padding") from None


def to_base64(data: bytes) -> str:
    """Base64 of bytes."""
    return base64.b64encode(data).decode()
