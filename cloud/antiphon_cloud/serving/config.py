"""What a worker serves, and what its stepper process reports about the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from antiphon_cloud.timing import STEP_BUDGET_MS


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """The model and the device."""

    model: Path
    codec: Path | None = None
    slots: int = 4
    device: str = "cpu"
    dtype: str | None = None
    quantize: str | None = None
    kv_cache: str | None = None
    graphs: bool = True
    threads: int | None = None
    random_weights: bool = False
    idle_timeout_ms: int = 30_000
    step_budget_ms: float = STEP_BUDGET_MS
    keep_slot_ms: int = 5_000


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the stepper process reports after loading the model (`loading.load_stepper`)."""

    codec: str  # folder
    tokenizer: str  # file
    text_padding_token: int
    history_steps: int
    profile: dict[int, float]  # batch → milliseconds of a step
