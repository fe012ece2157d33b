"""Chooses the number of threads that makes a step fastest on this machine under its present load.

Threads that wait for each other can be slower than one thread where other programs want the processors: a preempted
thread holds up the others at the end of each product. So counts are tried, not derived.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np
import numpy.typing as npt

from antiphon.history import HistoryTokens
from antiphon.spec import ModelSpec, Sampling
from antiphon_cloud.checkpoint.adapter_files import AdapterPaths
from antiphon_cloud.engine.runner import Loading, Prefill, Runner, StepResult
from antiphon_cloud.runner.settings import DEFAULT, SessionSettings

logger = logging.getLogger(__name__)

ROUNDS = 9  # over all counts in turn, so that other load affects each alike
PAUSE_S = 0.04  # before a timed step: who computes without pause is preempted more than a worker between its frames
SESSIONS = 4  # in the timed step, or fewer if there are fewer slots
LONGEST_MS = 3000.0  # of all trials; a started round is finished
CLEARLY = 0.8  # more threads must take less than this share of the time of fewer: what others want costs them more
RECENT = 16  # steps that the present speed is judged by
SLOW_MS = 20.0  # a quarter of a frame; a slowdown below that is inaudible
GROWN = 2.0  # times the duration measured at the start
TRIED_STEPS = 6  # per count while serving, after a first one that may start threads
REST_STEPS, LONGEST_REST_STEPS = (
    400,
    6400,
)  # between two looks: half a minute, and after looks that changed nothing more


def counts_up_to(most: int) -> tuple[int, ...]:
    """The counts to try: powers of two below `most`, and `most`."""
    return (*(1 << i for i in range((most - 1).bit_length())), most)


def fastest(times_ms: Mapping[int, Sequence[float]]) -> int:
    """The count with the least median time; fewer threads unless more clearly save time."""
    best, *more = sorted(times_ms)
    for count in more:
        if median(times_ms[count]) < CLEARLY * median(times_ms[best]):
            best = count
    return best


def choose_threads(
    counts: Sequence[int],
    use: Callable[[int], None],
    step_ms: Callable[[], float],
    pause: Callable[[], None] = lambda: None,
) -> tuple[int, dict[int, list[float]]]:
    """Tries each count and uses the fastest.

    Args:
        counts: to try; a single one is used untried.
        use: lets steps take so many threads from now on.
        step_ms: takes a step and says how many milliseconds it took.
        pause: waits for `PAUSE_S`.

    Returns:
        The count in use, and the times that were measured with each.
    """
    times_ms: dict[int, list[float]] = {count: [] for count in counts}
    if len(counts) > 1:
        spent_ms = 0.0
        for _ in range(ROUNDS):
            for count in counts:
                use(count)
                spent_ms += step_ms()  # the first step after a change may start threads
                pause()
                times_ms[count].append(step_ms())
                spent_ms += times_ms[count][-1]
            if spent_ms > LONGEST_MS:
                break
    chosen = counts[0] if len(counts) == 1 else fastest(times_ms)
    use(chosen)
    return chosen, times_ms


def shown_times(times_ms: Mapping[int, Sequence[float]]) -> str:
    """The median step time of each count, for messages."""
    return ", ".join(f"{count}: {median(times):.1f} ms" for count, times in times_ms.items() if times)


def timed_step(runner: Runner, clock_s: Callable[[], float] = time.perf_counter) -> Callable[[], float]:
    """A function that steps a few sessions of an idle runner and returns the milliseconds."""
    slots = range(min(runner.slots, SESSIONS))
    for slot in slots:
        runner.reset(slot, 0, runner.spec.sampling)
    codes = np.zeros((len(slots), runner.spec.user_codebooks), np.int32)

    def step_ms() -> float:
        start_s = clock_s()
        runner.step(slots, codes)
        return (clock_s() - start_s) * 1e3

    return step_ms


class ThreadWatch:
    """Tries the counts again on live steps when steps grow slow, and uses the fastest.

    Belongs to the thread that steps, as torch keeps its count by thread.

    Args:
        counts: to try.
        use: sets the number of threads of later steps.
        chosen: the count in use.
        usual_ms: batch → the milliseconds of its step, as measured at the start.
    """

    def __init__(
        self, counts: Sequence[int], use: Callable[[int], None], chosen: int, usual_ms: Mapping[int, float]
    ) -> None:
        self.chosen = chosen
        self._counts, self._use = tuple(counts), use
        self._usual_ms = dict(sorted(usual_ms.items()))
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)  # milliseconds, ratio to the usual
        self._trying: dict[int, list[float]] | None = None
        self._rest = self._next_rest = REST_STEPS

    def stepped(self, batch: int, took_ms: float) -> None:
        """Records the duration of a step over `batch` sessions."""
        if len(self._counts) == 1 or not self._usual_ms:
            return
        times = took_ms / self._usual(batch)
        if self._trying is not None:
            self._try(times)
            return
        self._rest -= 1
        self._recent.append((took_ms, times))
        if self._rest > 0 or len(self._recent) < RECENT:
            return
        slow_ms, grown = (median(values) for values in zip(*self._recent, strict=True))
        if slow_ms > SLOW_MS and grown > GROWN:
            self._trying = {count: [] for count in self._counts}
            self._use(self._counts[0])

    def _usual(self, batch: int) -> float:
        """The measured time of a step over that many sessions, or of the next larger batch."""
        larger = (took_ms for size, took_ms in self._usual_ms.items() if size >= batch)
        return max(next(larger, list(self._usual_ms.values())[-1]), 1e-3)

    def _try(self, times: float) -> None:
        assert self._trying is not None
        count = next(count for count, tried in self._trying.items() if len(tried) <= TRIED_STEPS)
        self._trying[count].append(times)
        if len(self._trying[count]) <= TRIED_STEPS:
            return
        left = [count for count, tried in self._trying.items() if not tried]
        if left:
            self._use(left[0])
            return
        best = fastest({count: tried[1:] for count, tried in self._trying.items()})
        self._use(best)
        if best != self.chosen:
            logger.info(
                "steps had grown slow: they are faster with another number of threads, %d instead of %d; --threads %d "
                "keeps it",
                best, self.chosen, best,
            )  # fmt: skip
            self._next_rest = REST_STEPS
        else:
            self._next_rest = min(2 * self._next_rest, LONGEST_REST_STEPS)
        self.chosen, self._rest, self._trying = best, self._next_rest, None
        self._recent.clear()


class WatchedRunner:
    """A runner that reports its steps to a `ThreadWatch`."""

    def __init__(self, runner: Runner, watch: ThreadWatch, clock_s: Callable[[], float] = time.perf_counter) -> None:
        self._runner, self._watch, self._clock_s = runner, watch, clock_s

    @property
    def slots(self) -> int:
        """As the runner's; so are the rest."""
        return self._runner.slots

    @property
    def spec(self) -> ModelSpec:
        """The runner's model."""
        return self._runner.spec

    def allow(self, slot: int, pages: int) -> None:
        """Lets `slot` have so many pages."""
        self._runner.allow(slot, pages)

    def load_adapter(self, place: int, paths: AdapterPaths) -> Loading:
        """What brings an adapter into a place."""
        return self._runner.load_adapter(place, paths)

    def adapt(self, slot: int, place: int) -> None:
        """Steps the session in `slot` with the adapter in a place."""
        self._runner.adapt(slot, place)

    def reset(self, slot: int, seed: int, sampling: Sampling, settings: SessionSettings = DEFAULT) -> None:
        """Starts a new session in `slot`."""
        self._runner.reset(slot, seed, sampling, settings)

    def resume(
        self, slot: int, seed: int, sampling: Sampling, history: HistoryTokens, settings: SessionSettings = DEFAULT
    ) -> Prefill:
        """Starts a session in `slot` that goes on from `history`."""
        return self._runner.resume(slot, seed, sampling, history, settings)

    def step(
        self,
        slots: Sequence[int],
        user_codes: npt.NDArray[np.int32],
        forced: npt.NDArray[np.int32] | None = None,
    ) -> StepResult:
        """Advances `slots` by one frame each, and reports the duration to the watch."""
        start_s = self._clock_s()
        result = self._runner.step(slots, user_codes, forced)
        self._watch.stepped(len(slots), (self._clock_s() - start_s) * 1e3)
        return result
