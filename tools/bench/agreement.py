"""Compares two runners of one model on the same conversation: their logits and likeliest tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from antiphon_cloud.runner.runner import ModelRunner

Codes = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass(slots=True)
class Difference:
    """The difference between found and wanted logits [..., V]."""

    squares: float = 0.0
    wanted_squares: float = 0.0
    same: int = 0  # positions with the same likeliest token
    count: int = 0

    def add(self, wanted: Floats, found: Floats) -> None:
        """Adds more positions."""
        self.squares += float(np.square(found - wanted, dtype=np.float64).sum())
        self.wanted_squares += float(np.square(wanted, dtype=np.float64).sum())
        self.same += int((found.argmax(-1) == wanted.argmax(-1)).sum())
        self.count += int(np.prod(wanted.shape[:-1]))

    @property
    def error(self) -> float:
        """Root mean square of the difference over that of the wanted logits."""
        return (self.squares / self.wanted_squares) ** 0.5 if self.wanted_squares else 0.0

    @property
    def top_1(self) -> float:
        """Share of positions whose likeliest token is the same."""
        return self.same / self.count if self.count else 1.0

    def __str__(self) -> str:
        return f"top-1 {self.top_1:.3f}, error {self.error:.4f}"


def compare(wanted: ModelRunner, found: ModelRunner, steps: int) -> tuple[Difference, Difference]:
    """Steps both runners; `found` is teacher-forced on the tokens of `wanted`.

    A code counts only if both runners drew the same tokens before it in the frame, since it is predicted from them.

    Returns:
        The difference of the text logits, and that of the code logits.
    """
    text, codes = Difference(), Difference()
    for runner in (wanted, found):
        runner.reset(0, 0, wanted.spec.sampling)
    for frame in frames(wanted, steps, 1):
        for runner in (wanted, found):
            runner.step([0], frame)
        text.add(wanted.text_logits, found.text_logits)
        alike = np.cumprod(drawn(wanted) == drawn(found))[:-1].astype(bool)  # [dep_q]
        if alike.any():
            codes.add(wanted.audio_logits[0][alike], found.audio_logits[0][alike])
        with torch.inference_mode():
            found.state.tokens[0].copy_(wanted.state.tokens[0])
    return text, codes


def drawn(runner: ModelRunner) -> Codes:
    """The text token and the codes that the last step drew for slot 0, before any delay: [1 + model_codebooks]."""
    tokens: Codes = runner.state.drawn(0, 1 + runner.spec.model_codebooks).cpu().numpy().astype(np.int32)
    return tokens


def frames(runner: ModelRunner, steps: int, batch: int) -> Iterator[Codes]:
    """Random user codes, step by step: [batch, user_codebooks]."""
    rng = np.random.default_rng(0)
    for _ in range(steps):
        yield rng.integers(0, runner.spec.cardinality, (batch, runner.spec.user_codebooks), np.int32)
