"""Descriptions of a codec, a model and a worker as frozen values; each has a message of the same name.

`from_message` refuses a peer's numbers that are out of bounds, and drops terminal control sequences from texts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from antiphon.codes import CodePacker
from antiphon.errors import ProtocolError
from antiphon.plain_text import plain_line
from antiphon.v1 import dialogue_pb2 as pb


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are sampled. A temperature of 0 takes the likeliest token."""

    text_temperature: float = 0.7
    text_top_k: int = 25
    audio_temperature: float = 0.8
    audio_top_k: int = 250

    @classmethod
    def from_message(cls, message: pb.Sampling) -> Sampling:
        """The sampling that `message` carries. A model's own limits are checked where it is used."""
        return cls(
            text_temperature=message.text_temperature,
            text_top_k=message.text_top_k,
            audio_temperature=message.audio_temperature,
            audio_top_k=message.audio_top_k,
        )

    def to_message(self) -> pb.Sampling:
        """The message of the same name."""
        return pb.Sampling(
            text_temperature=self.text_temperature,
            text_top_k=self.text_top_k,
            audio_temperature=self.audio_temperature,
            audio_top_k=self.audio_top_k,
        )


GREEDY = Sampling(text_temperature=0.0, audio_temperature=0.0)


@dataclass(frozen=True, slots=True)
class CodecSpec:
    """The codes that cross the wire. Codecs with one fingerprint (SHA-256 of the checkpoint) share their codes."""

    fingerprint: bytes
    sample_rate_hz: int
    frame_samples: int
    codebooks: int
    cardinality: int

    @property
    def frame_s(self) -> float:
        """Seconds of audio in a frame."""
        return self.frame_samples / self.sample_rate_hz

    @classmethod
    def from_message(cls, message: pb.CodecSpec) -> CodecSpec:
        """The spec that `message` carries.

        Raises:
            ProtocolError: a number is beyond what can be; the message names it.
        """
        return cls(
            fingerprint=message.fingerprint,
            sample_rate_hz=_within("codec.sample_rate_hz", message.sample_rate_hz, 1, 192_000),
            frame_samples=_within("codec.frame_samples", message.frame_samples, 1, 1 << 16),
            codebooks=_within("codec.codebooks", message.codebooks, 1, 64),
            cardinality=_within("codec.cardinality", message.cardinality, 1, 1 << 16),
        )

    def to_message(self) -> pb.CodecSpec:
        """The message of the same name."""
        return pb.CodecSpec(
            fingerprint=self.fingerprint,
            sample_rate_hz=self.sample_rate_hz,
            frame_samples=self.frame_samples,
            codebooks=self.codebooks,
            cardinality=self.cardinality,
        )


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a session needs to know of the model. Workers with equal fingerprints can resume each other's sessions.
    Models without a fingerprint cannot be told apart."""

    name: str
    model_type: str
    user_codebooks: int
    model_codebooks: int
    cardinality: int
    text_cardinality: int
    delay_steps: int
    context_steps: int
    sampling: Sampling
    weights: str
    random_weights: bool = False
    text_padding_token: int = 3
    fingerprint: bytes = b""
    silence_before_ms: int = 0
    silence_after_ms: int = 0
    sound_delay_steps: int = 0
    text_delay_ms: int = 0
    hears_pauses: bool = False
    speakers: int = 0
    takes_voice: bool = False
    takes_text: bool = False

    def in_writing(self) -> ModelSpec:
        """The same, as a session in MODE_TEXT sees it: no stream of codes holds any."""
        return replace(self, user_codebooks=0, model_codebooks=0)

    @property
    def user_packer(self) -> CodePacker:
        """Packs the codes that go up."""
        return CodePacker(self.user_codebooks, self.cardinality)

    @property
    def model_packer(self) -> CodePacker:
        """Packs the codes that come down."""
        return CodePacker(self.model_codebooks, self.cardinality)

    @classmethod
    def from_message(cls, message: pb.ModelSpec) -> ModelSpec:
        """The spec that `message` carries.

        Raises:
            ProtocolError: a number is beyond what can be; the message names it.
        """
        return cls(
            name=plain_line(message.name),
            model_type=plain_line(message.model_type),
            user_codebooks=_within("model.user_codebooks", message.user_codebooks, 0, 128),
            model_codebooks=_within("model.model_codebooks", message.model_codebooks, 0, 128),
            cardinality=_within("model.cardinality", message.cardinality, 2, 1 << 16),
            text_cardinality=_within("model.text_cardinality", message.text_cardinality, 2, 1 << 24),
            delay_steps=_within("model.delay_steps", message.delay_steps, 0, 10_000),
            context_steps=_within("model.context_steps", message.context_steps, 1, 1_000_000),
            sampling=Sampling.from_message(message.sampling),
            weights=plain_line(message.weights),
            random_weights=message.random_weights,
            text_padding_token=message.text_padding_token,
            fingerprint=message.fingerprint,
            silence_before_ms=_within("model.silence_before_ms", message.silence_before_ms, 0, 60_000),
            silence_after_ms=_within("model.silence_after_ms", message.silence_after_ms, 0, 60_000),
            sound_delay_steps=_within("model.sound_delay_steps", message.sound_delay_steps, 0, 10_000),
            text_delay_ms=_within("model.text_delay_ms", message.text_delay_ms, 0, 60_000),
            hears_pauses=message.hears_pauses,
            speakers=_within("model.speakers", message.speakers, 0, 16),
            takes_voice=message.takes_voice,
            takes_text=message.takes_text,
        )

    def to_message(self) -> pb.ModelSpec:
        """The message of the same name."""
        return pb.ModelSpec(
            name=self.name,
            model_type=self.model_type,
            user_codebooks=self.user_codebooks,
            model_codebooks=self.model_codebooks,
            cardinality=self.cardinality,
            text_cardinality=self.text_cardinality,
            delay_steps=self.delay_steps,
            context_steps=self.context_steps,
            sampling=self.sampling.to_message(),
            weights=self.weights,
            random_weights=self.random_weights,
            text_padding_token=self.text_padding_token,
            fingerprint=self.fingerprint,
            silence_before_ms=self.silence_before_ms,
            silence_after_ms=self.silence_after_ms,
            sound_delay_steps=self.sound_delay_steps,
            text_delay_ms=self.text_delay_ms,
            hears_pauses=self.hears_pauses,
            speakers=self.speakers,
            takes_voice=self.takes_voice,
            takes_text=self.takes_text,
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker allows a session."""

    max_sessions: int
    max_frames_in_flight: int = 32
    idle_timeout_ms: int = 30_000
    max_top_k: int = 512
    history_steps: int = 0
    keep_slot_ms: int = 5_000
    say_bytes: int = 0

    @classmethod
    def from_message(cls, message: pb.Limits) -> Limits:
        """The limits that `message` carries.

        Raises:
            ProtocolError: a number is beyond what can be; the message names it.
        """
        return cls(
            max_sessions=message.max_sessions,
            max_frames_in_flight=_within("limits.max_frames_in_flight", message.max_frames_in_flight, 1, 1 << 16),
            idle_timeout_ms=message.idle_timeout_ms,
            max_top_k=message.max_top_k,
            history_steps=_within("limits.history_steps", message.history_steps, 0, 1_000_000),
            keep_slot_ms=message.keep_slot_ms,
            say_bytes=message.say_bytes,
        )

    def to_message(self) -> pb.Limits:
        """The message of the same name."""
        return pb.Limits(
            max_sessions=self.max_sessions,
            max_frames_in_flight=self.max_frames_in_flight,
            idle_timeout_ms=self.idle_timeout_ms,
            max_top_k=self.max_top_k,
            history_steps=self.history_steps,
            keep_slot_ms=self.keep_slot_ms,
            say_bytes=self.say_bytes,
        )


def shown(fingerprint: bytes) -> str:
    """A fingerprint's prefix, enough to tell two apart."""
    return fingerprint.hex()[:8] or "none"


def _within(name: str, value: int, least: int, most: int) -> int:
    """Returns the value, bounded far below what 32 bits could make the reader allocate or wait for.

    Raises:
        ProtocolError: out of bounds.
    """
    if not least <= value <= most:
        raise ProtocolError(f"{name} {value}, which must be {least} to {most}")
    return value
