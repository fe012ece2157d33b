"""What the stepper drives: a model that steps many sessions at once, and resumes one from its history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from antiphon.history import HistoryTokens
from antiphon.spec import ModelSpec, Sampling
from antiphon_cloud.checkpoint.adapter_files import AdapterPaths
from antiphon_cloud.runner.settings import DEFAULT, SessionSettings


class StepResult(Protocol):
    """One step's aligned output. The entries are −2 while the delays still hold a slot's output back."""

    @property
    def text(self) -> npt.NDArray[np.int32]:
        """Text tokens [n]."""

    @property
    def codes(self) -> npt.NDArray[np.int32]:
        """Model codes [n, model_codebooks]."""

    @property
    def finite(self) -> npt.NDArray[np.bool_]:
        """Whether the logits were numbers [n]; where not, the row means nothing."""

    @property
    def fed(self) -> npt.NDArray[np.int32]:
        """The text tokens that the step put into the streams, before any delay [n]."""

    @property
    def drawn_text(self) -> npt.NDArray[np.int32]:
        """The text tokens that were drawn, whatever was forced in their place [n]."""

    @property
    def heads(self) -> npt.NDArray[np.float32]:
        """The probability of each extra head's first class [n, heads]."""


class Prefill(Protocol):
    """The computation that brings a session back into a slot."""

    @property
    def left(self) -> int:
        """Steps still to do; none: the session can go on."""

    def advance(self, steps: int) -> int:
        """Does up to `steps` of them, at least one, and returns how many."""


class Loading(Protocol):
    """The reading of an adapter into its place; sessions of the same adapter share it."""

    @property
    def left(self) -> int:
        """Turns still to do; none: sessions can be stepped with it."""

    @property
    def sha256(self) -> bytes:
        """Of the adapter; empty before the first turn."""

    def advance(self) -> None:
        """Does a turn.

        Raises:
            AntiphonError: the files cannot be used; the message says why. So it does whenever it is asked again.
        """


class Runner(Protocol):
    """A model on a device. One thread drives it.

    Raises:
        DeviceLostError: whatever is asked of it, where the device has failed for good.
    """

    @property
    def slots(self) -> int:
        """Rows of the batch."""

    @property
    def spec(self) -> ModelSpec:
        """The model that is stepped."""

    def allow(self, slot: int, pages: int) -> None:
        """Lets `slot` have so many pages of the memory that slots share: those of its next session, one more for the
        session that has filled them, or none. Does nothing where slots do not share."""

    def load_adapter(self, place: int, paths: AdapterPaths) -> Loading:
        """What brings an adapter into a place, over one that no session has any more."""

    def adapt(self, slot: int, place: int) -> None:
        """Steps the session in `slot`, which was reset just now, with the adapter in a place."""

    def reset(self, slot: int, seed: int, sampling: Sampling, settings: SessionSettings = DEFAULT) -> None:
        """Starts a new session in `slot`; nothing of the last one remains."""

    def resume(
        self, slot: int, seed: int, sampling: Sampling, history: HistoryTokens, settings: SessionSettings = DEFAULT
    ) -> Prefill:
        """Starts a session in `slot` that goes on from `history`; until its prefill is done, the slot does not step."""

    def step(
        self,
        slots: Sequence[int],
        user_codes: npt.NDArray[np.int32],
        forced: npt.NDArray[np.int32] | None = None,
    ) -> StepResult:
        """Advances `slots` by one frame each; other slots do not change.

        Args:
            slots: distinct rows.
            user_codes: [n, user_codebooks]; −1 where nothing is said.
            forced: tokens for the model's streams, [n, FORCED_TEXT + model_codebooks]: the text's where the model draws
                0, the text's where it draws another, and the codes; −2 leaves what was drawn. None: all are drawn.
        """
