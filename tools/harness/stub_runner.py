"""A runner without a model, whose replies are arithmetic; for tests and loads of the engine, the service and fleets."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from antiphon.history import HistoryTokens
from antiphon.spec import ModelSpec, Sampling
from antiphon_cloud.checkpoint.adapter_files import AdapterPaths
from antiphon_cloud.errors import CheckpointError
from antiphon_cloud.model.tokens import FORCED_TEXT, NEW_WORD, UNGENERATED
from antiphon_cloud.runner.settings import DEFAULT, SessionSettings

SPEC = ModelSpec("stub", "moshi", 8, 8, 2048, 256, 1, 40, Sampling(), "float32", fingerprint=b"\x05" * 32)


@dataclass(frozen=True)
class StubResult:
    """The result of a step, with the fields that the stepper reads."""

    text: npt.NDArray[np.int32]
    codes: npt.NDArray[np.int32]
    finite: npt.NDArray[np.bool_]
    fed: npt.NDArray[np.int32]
    drawn_text: npt.NDArray[np.int32]
    heads: npt.NDArray[np.float32]


@dataclass
class StubPrefill:
    """A prefill that only counts its steps; waits at the runner's gate before each chunk."""

    runner: StubRunner
    left: int

    def advance(self, steps: int) -> int:
        """Counts up to `steps` more steps; returns how many."""
        self.runner.entered.set()
        self.runner.gate.wait()
        done = min(steps, self.left)
        self.left -= done
        self.runner.chunks.append(done)
        return done


@dataclass
class StubLoading:
    """An adapter whose file is a line of text: its SHA-256 is made of it, unless it is `no adapter`."""

    runner: StubRunner
    paths: AdapterPaths
    left: int = 2
    sha256: bytes = b""

    def advance(self) -> None:
        """Reads the file; waits at the runner's gate before it."""
        self.runner.entered.set()
        self.runner.gate.wait()
        text = self.paths.weights.read_text()
        if text == "no adapter":
            raise CheckpointError(f"{self.paths.weights}: no adapter, the stub was told")
        self.sha256 = hashlib.sha256(text.encode()).digest()
        self.left -= 1


@dataclass
class StubRunner:
    """Replies to frame t of a slot with its codes + seed + t; the first step of a session is held back.

    Its text token is t; what is forced takes its place, and the codes', where t is drawn.

    `gate` is open unless a test closes it. A closed gate blocks the step; `entered` is set when a step waits there.
    """

    slots: int = 4
    spec: ModelSpec = SPEC
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    batches: MutableSequence[list[int]] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)
    fail_on_code: int | None = None
    no_number_on_code: int = -1
    fail_on_seed: int | None = None
    fault: type[Exception] = RuntimeError
    step_s: float = 0.0

    def __post_init__(self) -> None:
        self.gate.set()
        self._seeds = [0] * self.slots
        self._steps = [0] * self.slots
        self.allowed = [0] * self.slots
        self.sampling = self.spec.sampling  # of the last session
        self.settings = DEFAULT  # of the last session
        self.places: list[int | None] = [None] * self.slots  # of the sessions' adapters
        self.loaded: list[tuple[int, str]] = []  # the place and the file of each adapter that was loaded
        self.forced: list[npt.NDArray[np.int32]] = []  # of all steps that were given any, row by row

    def allow(self, slot: int, pages: int) -> None:
        """Notes how many pages the slot may have, of which the stub needs none."""
        self.allowed[slot] = pages

    def load_adapter(self, place: int, paths: AdapterPaths) -> StubLoading:
        """What brings an adapter into a place."""
        self.loaded.append((place, paths.weights.name))
        return StubLoading(self, paths)

    def adapt(self, slot: int, place: int) -> None:
        """Notes the place of the session's adapter."""
        self.places[slot] = place

    def reset(self, slot: int, seed: int, sampling: Sampling, settings: SessionSettings = DEFAULT) -> None:
        """Starts a session; fails on the seed `fail_on_seed`."""
        if seed == self.fail_on_seed:
            raise self.fault("the stub was told to fail")
        self._seeds[slot], self._steps[slot], self.places[slot] = seed, 0, None
        self.sampling, self.settings = sampling, settings

    def resume(
        self, slot: int, seed: int, sampling: Sampling, history: HistoryTokens, settings: SessionSettings = DEFAULT
    ) -> StubPrefill:
        """Starts a session where `history` ends."""
        self.reset(slot, seed, sampling, settings)
        self._steps[slot] = history.steps
        return StubPrefill(self, len(history))

    def step(
        self,
        slots: Sequence[int],
        user_codes: npt.NDArray[np.int32],
        forced: npt.NDArray[np.int32] | None = None,
    ) -> StubResult:
        """Waits at the gate, then computes the replies row by row."""
        self.entered.set()
        self.gate.wait()
        if self.step_s:
            time.sleep(self.step_s)
        self.batches.append(list(slots))
        if self.fail_on_code is not None and (user_codes == self.fail_on_code).any():
            raise self.fault("the stub was told to fail")
        codes = np.empty((len(slots), self.spec.model_codebooks), np.int32)
        text = np.empty(len(slots), np.int32)
        fed, drawn = np.empty(len(slots), np.int32), np.empty(len(slots), np.int32)
        for row, slot in enumerate(slots):
            held_back = self._steps[slot] < self.spec.delay_steps
            codes[row] = expected(user_codes[row], self._seeds[slot], self._steps[slot], self.spec)
            text[row] = fed[row] = drawn[row] = self._steps[slot] % self.spec.text_cardinality
            if forced is not None:
                self.forced.append(forced[row])
                wanted = forced[row, 0 if text[row] == NEW_WORD else 1]
                text[row] = fed[row] = text[row] if wanted == UNGENERATED else wanted
                codes[row] = np.where(forced[row, FORCED_TEXT:] == UNGENERATED, codes[row], forced[row, FORCED_TEXT:])
            if held_back:
                codes[row], text[row] = -2, -2
            self._steps[slot] += 1
        heads = np.empty((len(slots), 0), np.float32)
        return StubResult(text, codes, ~(user_codes == self.no_number_on_code).any(1), fed, drawn, heads)


def expected(codes: npt.NDArray[np.int32], seed: int, step: int, spec: ModelSpec = SPEC) -> npt.NDArray[np.int32]:
    """The stub's reply to `codes` [..., user_codebooks]: one frame at `step`, or frames [T] from `step` on."""
    steps = step + np.arange(len(codes))[:, None] if codes.ndim > 1 else step
    if codes.shape[-1] < spec.model_codebooks:  # nobody is heard
        codes = np.zeros((*codes.shape[:-1], spec.model_codebooks), np.int32)
    answers = (codes[..., : spec.model_codebooks] + seed % spec.cardinality + steps) % spec.cardinality
    return np.asarray(answers, np.int32)


def load(arguments: Mapping[str, Any]) -> tuple[StubRunner, dict[str, Any]]:
    """Loads a runner in the stepper's process; the arguments are `slots` and `step_s`."""
    runner = StubRunner(batches=deque(maxlen=100), **arguments)
    return runner, {"spec": runner.spec, "slots": runner.slots}
