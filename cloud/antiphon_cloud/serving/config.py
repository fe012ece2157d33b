"""What a worker is asked to serve, and what its stepper's process says that it found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from antiphon_cloud.checkpoint.conditions import Condition
from antiphon_cloud.runner.page_pool import PoolShape
from antiphon_cloud.sessions.prompts.personaplex import VoiceFacts
from antiphon_cloud.timing import STEP_BUDGET_MS


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """What to serve, and on what."""

    model: Path
    codec: Path | None = None
    slots: int = 4
    device: str = "cpu"
    dtype: str | None = None
    quantize: str | None = None
    kv_cache: str | None = None
    kv_promise_s: float | None = None
    graphs: bool = True
    threads: int | None = None
    random_weights: bool = False
    idle_timeout_ms: int = 30_000
    step_budget_ms: float = STEP_BUDGET_MS
    keep_slot_ms: int = 5_000
    reserve: int = 0  # slots that only sessions may take which go on
    codebooks: int | None = None
    prompt_cache_mb: int = 512  # two to four of the 7B's prompts, of 400 steps each
    adapters_dir: Path | None = None
    adapters: tuple[str, ...] = ()  # NAME=PATH each
    max_adapters: int = 8
    adapter_rank: int | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the stepper's process found when it loaded the model (`serving.load_stepper`)."""

    codec: str  # folder
    tokenizer: str  # file
    text_padding_token: int
    history_steps: int
    words_ahead: int  # that a second text stream looks; 0: there is none
    code_delays: tuple[int, ...]  # of the model's codebooks, in steps
    profile: dict[int, float]  # batch → milliseconds of a step
    pool: PoolShape
    voices: list[VoiceFacts]  # that prompts may name
    silence: list[list[int]]  # its codes from a stream's first frame on, for the prompts of a model that listens
    speakers: dict[str, bytes]  # voices that a model attends to, by name, with their hashes
    conditions: tuple[Condition, ...]
    adapter_places: int = 0  # of the stepper's memory
