"""The messages of `/api/chat`, as Moshi's and PersonaPlex's clients speak: a byte for the kind, then its payload."""

from __future__ import annotations

import enum

from antiphon_gateway.errors import MessageError


class Kind(enum.IntEnum):
    """The first byte."""

    HANDSHAKE = 0
    AUDIO = 1  # Ogg-Opus, both ways
    TEXT = 2  # UTF-8, a piece
    CONTROL = 3
    METADATA = 4  # JSON
    ERROR = 5  # UTF-8, a sentence
    PING = 6


def pack(kind: Kind, payload: bytes = b"") -> bytes:
    """A message."""
    return bytes((kind,)) + payload


def unpack(message: bytes | str) -> tuple[Kind, bytes]:
    """Kind and payload of a client's message.

    Raises:
        MessageError: it is text, empty, or of a kind that is not known.
    """
    if isinstance(message, str):
        raise MessageError("a text message: /api/chat takes binary ones, of a byte for the kind and its payload")
    if not message:
        raise MessageError("an empty message: send a byte for the kind, and its payload")
    try:
        return Kind(message[0]), message[1:]
    except ValueError:
        raise MessageError(f"a message of kind {message[0]}: send 1 and Ogg-Opus") from None
