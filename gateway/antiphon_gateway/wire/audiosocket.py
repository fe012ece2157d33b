"""Asterisk's AudioSocket: a byte of kind, two of length (big endian), a payload.

As https://docs.asterisk.org/Configuration/Channel-Drivers/AudioSocket/ has it. Asterisk reads a message's three first
bytes at once, so each is written whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from antiphon_edge.audio.pcm import Pcm
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.pcm16 import pcm_from_bytes, pcm_to_bytes

HEADER = struct.Struct(">BH")
HANG_UP, IDENTITY, DIGIT, FAILURE = 0x00, 0x01, 0x03, 0xFF
RATES_HZ = {
    0x10: 8_000,
    0x11: 12_000,
    0x12: 16_000,
    0x13: 24_000,
    0x14: 32_000,
    0x15: 44_100,
    0x16: 48_000,
    0x17: 96_000,
    0x18: 192_000,
}
"""Of each kind of message that holds sound."""
KINDS = {rate_hz: kind for kind, rate_hz in RATES_HZ.items()}
LARGEST_PAYLOAD = 0xFFFE  # of sound: an even number of bytes


@dataclass(frozen=True, slots=True)
class Identity:
    """Which call it is: the first message."""

    call: UUID


@dataclass(frozen=True, slots=True)
class Sound:
    """What the caller says."""

    rate_hz: int
    pcm: Pcm  # [N]


@dataclass(frozen=True, slots=True)
class Digit:
    """A key that the caller has pressed."""

    digit: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """The call is over."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Asterisk could not go on."""

    code: int


Message = Identity | Sound | Digit | HangUp | Failure


class Framer:
    """Cuts bytes as they come into messages. It keeps less than one message."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def inside(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._rest)

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes.

        Raises:
            MessageError: a message that there is none of, or one of a wrong length.
        """
        self._rest += data
        while len(self._rest) >= HEADER.size:
            kind, length = HEADER.unpack_from(self._rest)
            end = HEADER.size + length
            if len(self._rest) < end:
                return
            payload, self._rest = self._rest[HEADER.size : end], self._rest[end:]
            yield _message(kind, payload)


def hang_up() -> bytes:
    """Ends the call."""
    return HEADER.pack(HANG_UP, 0)


def sound(rate_hz: int, pcm: Pcm) -> bytes:
    """Sound [N] for the caller, at one of `RATES_HZ`."""
    data = pcm_to_bytes(pcm)
    parts = [data[at : at + LARGEST_PAYLOAD] for at in range(0, len(data), LARGEST_PAYLOAD)]
    return b"".join(HEADER.pack(KINDS[rate_hz], len(part)) + part for part in parts)


def _message(kind: int, payload: bytes) -> Message:
    if kind in RATES_HZ:
        return Sound(RATES_HZ[kind], pcm_from_bytes(payload))
    if kind == IDENTITY and len(payload) == 16:
        return Identity(UUID(bytes=payload))
    if kind == DIGIT and len(payload) == 1 and payload.isascii():
        return Digit(payload.decode())
    if kind == HANG_UP:
        return HangUp()
    if kind == FAILURE:
        return Failure(int.from_bytes(payload, "big"))
    if kind in (IDENTITY, DIGIT):
        raise MessageError(f"AudioSocket: a message of kind {kind:#04x} with {len(payload)} bytes, which cannot be")
    raise MessageError(f"AudioSocket: messages of kind {kind:#04x} are not known: is it AudioSocket that speaks here?")
