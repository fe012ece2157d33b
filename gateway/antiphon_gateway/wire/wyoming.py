"""Wyoming's events on a stream: a line of JSON, then as many bytes of data (JSON) and of payload as it says.

As https://github.com/OHF-Voice/wyoming has it, whose `Event` this makes. The library's own reader takes whatever length
it is told, and says nothing of what it cannot read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from wyoming.event import Event
from wyoming.version import __version__

from antiphon_gateway.errors import MessageError

VERSION = __version__
MOST_BYTES = 1 << 20  # of a line, of data or of a payload: 10 s of sound at 48 kHz


def pack(event: Event) -> bytes:
    """An event as it goes on the wire."""
    data = json.dumps(event.data, ensure_ascii=False).encode() if event.data else b""
    payload = event.payload or b""
    header = {"type": event.type, "version": VERSION, "data_length": len(data), "payload_length": len(payload)}
    return b"".join((json.dumps(header).encode(), b"\n", data, payload))


class Framer:
    """Cuts bytes as they come into events. It keeps less than one event."""

    def __init__(self) -> None:
        self._rest = b""
        self._header: dict[str, Any] | None = None  # of the event that has begun

    @property
    def inside(self) -> bool:
        """Whether an event has begun and not ended."""
        return self._header is not None or bool(self._rest)

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that `data` completes.

        Raises:
            MessageError: it is no event, or a longer one than is taken.
        """
        self._rest += data
        while (event := self._next()) is not None:
            yield event

    def _next(self) -> Event | None:
        if self._header is None:
            line, newline, rest = self._rest.partition(b"\n")
            if len(line) > MOST_BYTES:
                raise MessageError(
                    f"Wyoming: a line is longer than {MOST_BYTES} bytes: is it Wyoming that speaks here?"
                )
            if not newline:
                return None
            self._header, self._rest = _header(line), rest
        data_length, payload_length = (self._header[name] for name in ("data_length", "payload_length"))
        if len(self._rest) < data_length + payload_length:
            return None
        data = dict(self._header["data"])
        if data_length:
            data |= _object(self._rest[:data_length], "data")
        payload = self._rest[data_length : data_length + payload_length] or None
        self._rest = self._rest[data_length + payload_length :]
        kind, self._header = self._header["type"], None
        return Event(kind, data, payload)


def _header(line: bytes) -> dict[str, Any]:
    header = _object(line, "line")
    if not isinstance(header.get("type"), str):
        raise MessageError("Wyoming: an event has no type")
    if not isinstance(header.setdefault("data", {}), dict):
        raise MessageError("Wyoming: data: expected an object")
    for name in ("data_length", "payload_length"):
        header[name] = header.get(name) or 0
        if not isinstance(header[name], int) or not 0 <= header[name] <= MOST_BYTES:
            raise MessageError(f"Wyoming: {name}: expected 0 to {MOST_BYTES} bytes, got {str(header[name])[:40]}")
    return header


def _object(text: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # of text that is no UTF-8, too
        value = None
    if not isinstance(value, dict):
        raise MessageError(
            f"Wyoming: {name}: expected a JSON object, got {text[:40]!r}: is it Wyoming that speaks here?"
        )
    return value
