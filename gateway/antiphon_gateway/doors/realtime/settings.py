"""A session's settings, as a client changes and reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from antiphon_gateway.calls.fleet import Fleet, Wanted
from antiphon_gateway.doors.realtime.dialect import Dialect
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.formats import PCM16, Format, format_named

LONGEST_INSTRUCTIONS = 100_000  # characters; the worker knows how many tokens its model takes


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client may set.

    Args:
        instructions: the persona.
        voice: its name.
        hears: the format of what comes up.
        speaks: of what goes down.
        detects: whether the client is told when the person begins and ends to speak.
    """

    instructions: str = ""
    voice: str | None = None
    hears: Format = PCM16
    speaks: Format = PCM16
    detects: bool = True

    def updated(self, session: Any) -> Settings:
        """The settings after a `session.update`; what is not known of them is passed over.

        Raises:
            MessageError: a setting that cannot be; the message names it.
        """
        given = _mapping(session, "session")
        sound = _mapping(given.get("audio"), "session.audio")
        hears = _mapping(sound.get("input"), "session.audio.input")
        speaks = _mapping(sound.get("output"), "session.audio.output")
        return Settings(
            _instructions(given.get("instructions"), self.instructions),
            _voice(speaks.get("voice", given.get("voice")), self.voice),
            _format(hears.get("format", given.get("input_audio_format")), self.hears),
            _format(speaks.get("format", given.get("output_audio_format")), self.speaks),
            _detects(hears, given, self.detects),
        )

    def fitting(self, fleet: Fleet) -> Settings:
        """The same with a voice that the model has, or its own."""
        return self if self.voice in fleet.voices else replace(self, voice=None)

    @property
    def fixed(self) -> tuple[object, ...]:
        """What stays as it is once the session on a worker has begun."""
        return self.instructions, self.voice, self.hears, self.speaks

    def wanted(self) -> Wanted:
        """The session that a worker is asked for."""
        return Wanted(voice=self.voice, persona=self.instructions or None)

    def told(self, dialect: Dialect, session_id: str, model: str) -> dict[str, Any]:
        """The session as the client is told it."""
        detection = {"type": "server_vad"} if self.detects else None
        told = {"id": session_id, "object": "realtime.session", "model": model, "instructions": self.instructions}
        if dialect.flat:
            return told | {
                "modalities": ["text", "audio"],
                "voice": self.voice,
                "input_audio_format": self.hears.beta_name,
                "output_audio_format": self.speaks.beta_name,
                "turn_detection": detection,
            }
        return told | {
            "type": "realtime",
            "output_modalities": ["audio"],
            "audio": {
                "input": {"format": _told_format(self.hears), "turn_detection": detection},
                "output": {"format": _told_format(self.speaks), "voice": self.voice},
            },
        }


def _told_format(sound: Format) -> dict[str, Any]:
    return {"type": sound.name} | ({"rate": sound.rate_hz} if sound is PCM16 else {})


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MessageError(f"{name}: expected an object, got {type(value).__name__}")
    return value


def _instructions(value: Any, before: str) -> str:
    if isinstance(value, dict):  # Unmute's page: who speaks, as an object of its own
        value = value.get("text") or ""
    if value is None:
        return before
    if not isinstance(value, str) or len(value) > LONGEST_INSTRUCTIONS:
        raise MessageError(f"session.instructions: expected text of at most {LONGEST_INSTRUCTIONS} characters")
    return value


def _voice(value: Any, before: str | None) -> str | None:
    if isinstance(value, dict):  # a custom voice of OpenAI's, by its id
        value = value.get("id")
    if value is None:
        return before
    if not isinstance(value, str):
        raise MessageError(f"session.voice: expected the name of a voice, got {type(value).__name__}")
    return value


def _format(value: Any, before: Format) -> Format:
    if value is None:
        return before
    if isinstance(value, dict):
        found = format_named(value.get("type"))
        if value.get("rate") not in (None, found.rate_hz):
            raise MessageError(f"rate {str(value.get('rate'))[:20]} of {found.name}: it has {found.rate_hz}")
        return found
    return format_named(value)


def _detects(hears: Mapping[str, Any], given: Mapping[str, Any], before: bool) -> bool:
    for place in (hears, given):
        if "turn_detection" in place:
            return place["turn_detection"] is not None
    return before
