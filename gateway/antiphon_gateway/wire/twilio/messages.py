"""Twilio Media Streams' messages: JSON objects, each with an `event`.

As https://www.twilio.com/docs/voice/media-streams/websocket-messages has them.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from antiphon_edge.audio.pcm import Pcm
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.g711 import MU_LAW, RATE_HZ

FORMAT = {"encoding": "audio/x-mulaw", "sampleRate": RATE_HZ, "channels": 1}
"""The only one that Twilio has."""


@dataclass(frozen=True, slots=True)
class Start:
    """The stream begins."""

    stream: str
    call: str
    parameters: dict[str, str]
    """What the call's TwiML gave as `<Parameter>`."""


@dataclass(frozen=True, slots=True)
class Media:
    """What the caller says: usually 20 ms of it."""

    pcm: Pcm  # [N] at 8 kHz


@dataclass(frozen=True, slots=True)
class Digit:
    """A key that the caller has pressed."""

    digit: str


@dataclass(frozen=True, slots=True)
class Mark:
    """What was sent before the mark has been played, or was cleared."""

    name: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The stream ends."""


Message = Start | Media | Digit | Mark | Stop


def parse(text: str) -> Message | None:
    """What Twilio says; None where it matters to nobody: `connected`, the other track, an event that is not known.

    Raises:
        MessageError: it is no message of Twilio's; the sentence names the field.
    """
    try:
        message = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise MessageError("Twilio: the message is no JSON") from None
    if not isinstance(message, dict) or not isinstance(event := message.get("event"), str):
        raise MessageError("Twilio: the message has no event")
    read = _READERS.get(event)
    return read(_field(message, event, dict)) if read else None


def media(stream: str, pcm: Pcm) -> str:
    """Sound [N] at 8 kHz for the caller."""
    payload = base64.b64encode(MU_LAW.encode(pcm)).decode()
    return json.dumps({"event": "media", "streamSid": stream, "media": {"payload": payload}})


def mark(stream: str, name: str) -> str:
    """A mark, which comes back when all before it is played."""
    return json.dumps({"event": "mark", "streamSid": stream, "mark": {"name": name}})


def clear(stream: str) -> str:
    """Drops what was sent and not yet played."""
    return json.dumps({"event": "clear", "streamSid": stream})


def _start(fields: dict[str, Any]) -> Start:
    found = _field(fields, "mediaFormat", dict, "start.")
    if found != FORMAT:
        raise MessageError(f"start.mediaFormat: expected {FORMAT}, got {str(found)[:200]}")
    parameters = _field(fields, "customParameters", dict, "start.") if "customParameters" in fields else {}
    stream, call = _field(fields, "streamSid", str, "start."), _field(fields, "callSid", str, "start.")
    return Start(stream, call, {name: str(value) for name, value in parameters.items()})


def _media(fields: dict[str, Any]) -> Media | None:
    if fields.get("track", "inbound") != "inbound":
        return None
    try:
        return Media(MU_LAW.decode(base64.b64decode(_field(fields, "payload", str, "media."), validate=True)))
    except (binascii.Error, ValueError):
        raise MessageError("media.payload: expected base64") from None


def _stop(fields: dict[str, Any]) -> Stop:
    return Stop()


_READERS: dict[str, Callable[[dict[str, Any]], Message | None]] = {
    "start": _start,
    "media": _media,
    "dtmf": lambda fields: Digit(_field(fields, "digit", str, "dtmf.")),
    "mark": lambda fields: Mark(_field(fields, "name", str, "mark.")),
    "stop": _stop,
}


def _field(fields: dict[str, Any], name: str, kind: type, where: str = "") -> Any:
    value = fields.get(name)
    if not isinstance(value, kind):
        wanted = "an object" if kind is dict else "a string"
        raise MessageError(f"{where}{name}: expected {wanted}, got {str(value)[:40]!r}")
    return value
