"""What a codec, a model and a worker are, as frozen values: the plain side of the messages of the same name."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

from antiphon.codes import CodePacker
from antiphon.errors import ProtocolError
from antiphon.plain_text import plain_line
from antiphon.v1 import dialogue_pb2 as pb


class _Spec:
    """Mirrors a protobuf message field by field; nested specs nest."""

    @classmethod
    def from_message(cls, message: Any) -> Self:
        """The spec that `message` carries; texts lose what a terminal would obey.

        Raises:
            ProtocolError: a number is out of the bounds of what can be; the message names it.
        """
        values = {}
        for field in fields(cls):  # type: ignore[arg-type]
            value = getattr(message, field.name)
            nested = _NESTED.get(str(field.type))
            value = plain_line(value) if isinstance(value, str) else value
            values[field.name] = nested.from_message(value) if nested else value
        spec = cls(**values)
        spec.check()
        return spec

    def check(self) -> None:
        """Whether all numbers are of a size that can be: a peer, or a file, may say anything.

        Raises:
            ProtocolError: names the first that is not.
        """
        for name, (least, most) in _BOUNDS.get(type(self).__name__, {}).items():
            if not least <= getattr(self, name) <= most:
                raise ProtocolError(f"{type(self).__name__}: {name} {getattr(self, name)} is not {least} to {most}")

    def to_message(self) -> Any:
        """The message of the same name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        nested = {name: value.to_message() for name, value in values.items() if isinstance(value, _Spec)}
        return getattr(pb, type(self).__name__)(**values | nested)


@dataclass(frozen=True, slots=True)
class Sampling(_Spec):
    """How tokens are drawn. A temperature of 0 takes the likeliest token."""

    text_temperature: float = 0.7
    text_top_k: int = 25
    audio_temperature: float = 0.8
    audio_top_k: int = 250


GREEDY = Sampling(text_temperature=0.0, audio_temperature=0.0)


@dataclass(frozen=True, slots=True)
class CodecSpec(_Spec):
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


@dataclass(frozen=True, slots=True)
class ModelSpec(_Spec):
    """What a session needs to know of the model. Workers with one fingerprint can go on with each other's sessions; a
    model without one is told from others by nothing."""

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

    @property
    def user_packer(self) -> CodePacker:
        """Packs the codes that go up."""
        return CodePacker(self.user_codebooks, self.cardinality)

    @property
    def model_packer(self) -> CodePacker:
        """Packs the codes that come down."""
        return CodePacker(self.model_codebooks, self.cardinality)


@dataclass(frozen=True, slots=True)
class Limits(_Spec):
    """What a worker allows a session."""

    max_sessions: int
    max_frames_in_flight: int = 32
    idle_timeout_ms: int = 30_000
    max_top_k: int = 512
    history_steps: int = 0
    keep_slot_ms: int = 5_000


def shown(fingerprint: bytes) -> str:
    """A fingerprint for people: enough of it to tell two apart."""
    return fingerprint.hex()[:8] or "none"


# Far beyond any model, and far below what a number of 32 bits could make somebody allocate or wait for.
_BOUNDS = {
    "CodecSpec": {
        "sample_rate_hz": (1, 192_000),
        "frame_samples": (1, 1 << 16),
        "codebooks": (1, 64),
        "cardinality": (1, 1 << 16),
    },
    "ModelSpec": {
        "user_codebooks": (0, 64),
        "model_codebooks": (0, 64),
        "cardinality": (1, 1 << 16),
        "text_cardinality": (1, 1 << 24),
        "delay_steps": (0, 1000),
        "context_steps": (0, 1 << 20),
        "silence_before_ms": (0, 60_000),
        "silence_after_ms": (0, 60_000),
    },
}
_NESTED: dict[str, type[_Spec]] = {"Sampling": Sampling}
