"""The rows of the evaluation: which scenes are played, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from antiphon_edge.audio.pcm import Pcm
from tools.clerk.natural_scenes import (
    beside_other_words,
    interruptions_by,
    numbers,
    spelled_by_recordings,
    unanswered_by,
)
from tools.clerk.people import humans, joe, natural_people, recordings
from tools.clerk.scenes import Scene, rows
from tools.clerk.train.rooms.places import placed

ECHO_DELAY_MS = 150.0  # playout, devices and air, beside the playout buffer's own
ECHO_GAINS_DB = (None, -20.0, -30.0, -40.0)
T = TypeVar("T")


@dataclass(frozen=True)
class Rows:
    """The scenes of each row, by what is counted in it."""

    people: dict[str, list[Scene]]
    barging: dict[str, list[Scene]]
    unanswered: dict[str, list[Pcm]]
    echoing: dict[str, tuple[float | None, list[Scene]]]

    def only(self, beginnings: Sequence[str] | None) -> Rows:
        """The rows whose names begin with one of these; all if None."""

        def some(of_kind: dict[str, T]) -> dict[str, T]:
            return {
                name: scenes
                for name, scenes in of_kind.items()
                if beginnings is None or name.startswith(tuple(beginnings))
            }

        return replace(
            self,
            people=some(self.people),
            barging=some(self.barging),
            unanswered=some(self.unanswered),
            echoing=some(self.echoing),
        )


def all_rows(count: int, seed: int, sets: Path | None) -> Rows:
    """Every row: those of synthesizers, and with `sets` those of natural voices, humans and echo.

    Raises:
        AntiphonError: a synthesizer or a voice is missing.
    """
    people, barging, unanswered = rows(count, seed)
    synthetic = Rows(people, {"interrupted": barging}, unanswered, {})
    return with_people(synthetic, count, seed, sets) if sets else synthetic


def with_people(synthetic: Rows, count: int, seed: int, sets: Path) -> Rows:
    """Adds the rows of natural voices, humans and echo. Each has its own random numbers."""

    def drawn(row: int) -> np.random.Generator:
        return np.random.default_rng([seed, 100 + row])

    place, some = drawn(9), [*natural_people(sets), joe(drawn(0))]
    people = {
        "natural voices": numbers(some, count, drawn(1)),
        "natural voices, places": numbers(some, count, drawn(2), lambda samples: placed(samples, place)),
        "natural voices, after other words": beside_other_words(some, count, drawn(3)),
        "natural voices, between other words": beside_other_words(some, count, drawn(4), between=True),
    }
    if recorded := humans():
        people["humans"] = spelled_by_recordings(recorded, count, drawn(5))
    echoing = {
        "without an echo" if gain_db is None else f"its own voice at {gain_db:.0f} dB": gain_db
        for gain_db in ECHO_GAINS_DB
    }
    heard = synthetic.people["unseen voices"][: max(20, count // 4)]
    return Rows(
        synthetic.people | people,
        synthetic.barging | {"interrupted by natural voices": interruptions_by(some, count, drawn(6))},
        synthetic.unanswered | unanswered_by(some, recordings(), count, drawn(7)),
        {name: (gain_db, heard) for name, gain_db in echoing.items()},
    )
