"""What a session is given once, beside its seed and sampling. Without torch: both processes of a worker have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What the model is told for the whole session; the defaults are a model's own."""

    conditions: Mapping[str, str] = field(default_factory=dict)  # name → value
    voices: tuple[str, ...] = ()  # of the speakers of a script
    adapter: str = ""
    adapter_sha256: bytes = b""  # of what is there under that name; the stepper knows it
    prompt_steps: int = 0  # at the beginning of its history, before frame 0
    prompt_sha256: bytes = b""  # of all that the prompt stands for


DEFAULT = SessionSettings()
