"""What is checked: a model on this machine's card, loaded once for all the stages of a process."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch

from antiphon.spec import ModelSpec
from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.runner.device import named_dtype
from antiphon_cloud.runner.footprint import footprint
from antiphon_cloud.runner.runner import ModelRunner

LOGITS_ERROR = 0.08  # relative, of half precision: against the CPU's 14 bits, in another batch, after a rebuild


class FailedError(Exception):
    """A check has failed; the message says which, and by how much."""


class Tell(Protocol):
    """Takes what a stage finds, as it finds it."""

    def __call__(self, text: str, *, kind: str = "note", **facts: object) -> None:
        """A line for people, and the figures in it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The model, and how it is held."""

    directory: ModelDirectory
    dtype: torch.dtype
    quantize: str

    def runner(self, device: str, slots: int) -> ModelRunner:
        """The model, loaded for uncaptured steps."""
        return ModelRunner.load(self.directory, slots, self.dtype, device, quantize=self.quantize, graphs=False)

    def fits(self, slots: int, kv_dtype: torch.dtype) -> bool:
        """Whether keys and values of so many sessions, and of the one that pads, have room beside the weights."""
        device = torch.device("cuda")
        size = footprint(self.directory.config.lm, select(device, self.dtype, self.quantize == "int8"), kv_dtype)
        return (slots + 1) * size.session <= 0.9 * torch.cuda.mem_get_info()[0]


@dataclass
class Bench:
    """What the stages of a process share, and how many sessions are to be served."""

    model: Path
    quantize: str = "int8"
    dtype: str = "bfloat16"
    device: str = "cuda"
    slots: int = 64
    sessions: tuple[int, ...] = (1, 16, 32, 64)
    seconds: float = 12.0

    @cached_property
    def subject(self) -> Subject:
        """The model's directory, opened."""
        return Subject(ModelDirectory.open(self.model), named_dtype(self.dtype), self.quantize)

    @cached_property
    def loaded(self) -> tuple[Ops, ModelSpec]:
        """The model on the card; runners of any size share it."""
        runner = self.subject.runner("cuda", 1)
        return runner.ops, runner.spec

    def release(self) -> None:
        """Gives the card's memory to another process."""
        self.__dict__.pop("loaded", None)
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()


def runner_of(ops: Ops, spec: ModelSpec, slots: int, kv_dtype: torch.dtype, captured: bool) -> ModelRunner:
    """A runner of the loaded model.

    Raises:
        FailedError: it steps in another way than was asked for.
    """
    runner = ModelRunner(ops, slots, spec, kv_dtype, graphs=captured)
    if runner.graph_runner is None or runner.captured != captured:
        raise FailedError(f"a runner of {slots} slots has no {name_of(captured)} steps")
    return runner


def name(dtype: torch.dtype) -> str:
    """As people write it."""
    return str(dtype).removeprefix("torch.")


def name_of(captured: bool) -> str:
    """How steps are taken, as people write it."""
    return "captured" if captured else "eager"
