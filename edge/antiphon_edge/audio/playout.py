"""The playout buffer between the network, which is late at times, and the speaker, which never waits."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from antiphon.errors import AntiphonError
from antiphon_edge.audio.jitter.arrivals import Arrivals
from antiphon_edge.audio.jitter.concealment import Concealment
from antiphon_edge.audio.jitter.splice import Splicer
from antiphon_edge.audio.pcm import BlockBuffer, Pcm

PREFILL_MS = 40  # until the network is known
CAPACITY_MS = 400  # what the worker sends at once after a stall; more would only be latency for the rest of the talk
TICK_MS = 10  # between two looks at what waits
HISTORY_MS = 40  # of what was played: a gap is concealed with it
SPARE_MS = 8  # more than needed: less is not worth a splice
SHORT_MS = 2  # less than needed, for a moment
STRETCH = 0.05  # of speech, slower or faster: nobody hears it
ALIKE = 0.6  # the sound on both sides of a splice, at least
BEHIND_MS = 80  # more than that is not caught up by stretching alone:
PATIENCE_MS = 1000  # after so much speech without a silence to leave out, speech is left out


@dataclass(frozen=True, slots=True)
class PlayoutStats:
    """What a playout buffer did so far."""

    underruns: int
    """Times that nothing was left to play."""
    dropped_samples: int
    """Of speech: pushed out by an overflow, or left out to catch up after a stall."""
    level_ms: float
    """Waiting to be played now."""
    late_frames: int = 0
    """That came after the moment when they would have been played."""
    gap_ms: float = 0.0
    """Concealed, or silent, in all underruns together."""
    silence_ms: float = 0.0
    """Left out of silences, less what was put in: nobody misses it."""
    stretched_ms: float = 0.0
    """Speech became so much shorter by being played faster, less what was put in."""
    target_ms: float = 0.0
    """That is to wait for the slowest frames."""


class PlayoutBuffer:
    """Turns frames that come when they come into a stream without gaps; no I/O, so tests drive it.

    Its only clock is the samples that the speaker has taken. How much must wait is learnt from the frames: as much as
    brings all but one of the last 20 s in time (`Arrivals`). More waits where frames came together after a stall, or
    where the speaker's clock is slower than that of the microphone, which paces the worker. The surplus is left out: of
    a silence all of it at once, of speech by playing up to 5 % faster. After a stall, where no silence comes for
    `PATIENCE_MS`, the surplus of speech is left out too. Where less waits, silence is put in, or speech is played
    slower.

    When the buffer runs dry it goes on with the last period of the sound, which fades (`Concealment`), and counts an
    underrun. When it is full the oldest is dropped. Every join is faded, where the sound is most alike.

    `write` and `flush` belong to the event loop, `read` to the audio thread; all of it is thread-safe, and the lock is
    held for a few hundred microseconds at most.

    Args:
        sample_rate_hz: of what is written and read.
        prefill_ms: how much must wait until the network is known.
        capacity_ms: how much may wait.
        exact: play what is written sample for sample: nothing is made longer or shorter while nothing is late.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        *,
        prefill_ms: float = PREFILL_MS,
        capacity_ms: float = CAPACITY_MS,
        exact: bool = False,
    ) -> None:
        if capacity_ms <= prefill_ms:
            raise AntiphonError(
                f"capacity_ms: {capacity_ms} must be more than prefill_ms, {prefill_ms}, or all of it overflows"
            )
        self._per_ms = sample_rate_hz / 1000
        self._tick = self._samples(TICK_MS)
        self._capacity = self._samples(capacity_ms)
        self._arrivals = Arrivals(self._per_ms, prefill_ms)
        self._splicer = Splicer(self._per_ms)
        self._lock = threading.Lock()
        self._waiting: Pcm = np.zeros(0, np.float32)  # at most `_capacity`: the oldest is dropped
        self._played: Pcm = np.zeros(self._samples(HISTORY_MS), np.float32)
        self._ready = BlockBuffer()  # less than a tick
        self._gap: Concealment | None = Concealment(self._played, self._splicer, self._per_ms)
        self._exact = exact
        self._flushing = False
        self._shift = 0  # samples put in since the start, less those left out
        self._missing = 0  # samples of sound that should have been played and have not come
        self._pause = 0  # samples until speech may be stretched again
        self._behind = 0  # samples played since too much waits
        self._underruns = self._late_frames = 0
        self._dropped = self._gap_samples = self._silence = self._stretched = 0

    @property
    def stats(self) -> PlayoutStats:
        """Counters since the start, and the level now."""
        with self._lock:
            return PlayoutStats(
                self._underruns,
                self._dropped,
                (len(self._waiting) + len(self._ready)) / self._per_ms,
                self._late_frames,
                self._gap_samples / self._per_ms,
                self._silence / self._per_ms,
                self._stretched / self._per_ms,
                self._arrivals.target / self._per_ms,
            )

    @property
    def empty(self) -> bool:
        """Nothing waits to be played."""
        with self._lock:
            return not len(self._waiting) and not len(self._ready)

    def write(self, pcm: Pcm) -> None:
        """Appends `pcm` [N]; full: drops the oldest."""
        with self._lock:
            self._flushing = False
            level = len(self._waiting)
            self._arrivals.came(level - self._shift)
            self._late_frames += self._missing > 0
            self._missing = max(0, self._missing - len(pcm))
            self._waiting = np.concatenate((self._waiting, pcm))
            surplus = len(self._waiting) - self._capacity
            if surplus > 0:
                self._drop(surplus)

    def flush(self) -> None:
        """No more is coming: plays what waits, as it is, and running dry is no underrun. `write` undoes it."""
        with self._lock:
            self._flushing = True

    def read(self, samples: int) -> Pcm:
        """The next `samples` samples for the speaker: audio, what conceals a gap, or silence."""
        with self._lock:
            while len(self._ready) < samples:
                block = self._next_tick()
                self._played = np.concatenate((self._played[len(block) :], block))
                self._ready.put(block)
            return self._ready.take(samples)

    def _next_tick(self) -> Pcm:
        """The next samples [tick]."""
        before = self._tick if self._gap is None else self._wait()
        if self._gap is not None:
            gap = self._put_in(before)
            if before == self._tick:
                return gap
            over = self._gap.take(self._splicer.overlap)
            self._waiting, self._gap = self._splicer.fade(over, self._waiting), None
        else:
            gap = self._played[:0]
            if not self._flushing and not self._exact:
                self._correct()
        block = np.concatenate((gap, self._waiting[: self._tick - len(gap)]))
        self._waiting = self._waiting[self._tick - len(gap) :]
        return block if len(block) == self._tick else self._run_dry(block)

    def _wait(self) -> int:
        """How many of the next samples are a gap still."""
        if not len(self._waiting):
            return self._tick
        return 0 if self._flushing else round(min(self._tick, max(0, -self._error())))

    def _put_in(self, samples: int) -> Pcm:
        assert self._gap is not None
        self._shift += samples
        if self._underruns and not self._flushing:
            self._gap_samples += samples
            self._missing += 0 if len(self._waiting) else samples
        return self._gap.take(samples)

    def _run_dry(self, block: Pcm) -> Pcm:
        """`block` [less than a tick] and the beginning of a gap."""
        if not self._flushing:
            self._underruns += 1
        history = np.concatenate((self._played[len(block) :], block))
        self._gap = Concealment(history, self._splicer, self._per_ms)
        return np.concatenate((block, self._put_in(self._tick - len(block))))

    def _error(self) -> float:
        """How many samples more than needed wait when a frame comes."""
        return self._arrivals.spare + self._shift

    def _correct(self) -> None:
        """Brings what waits nearer to the target by one splice, where the sound allows it."""
        self._pause = max(0, self._pause - self._tick)
        error = self._error()
        self._behind = self._behind + self._tick if error > self._samples(BEHIND_MS) else 0
        if error > self._samples(SPARE_MS):
            self._shorten(round(error))
        elif error < -self._samples(SHORT_MS):
            self._lengthen(round(-error))

    def _shorten(self, surplus: int) -> None:
        cutter = self._splicer
        room = len(self._waiting) - cutter.overlap - self._tick  # what follows a splice
        silence = min(surplus, room, cutter.silence(self._waiting) - cutter.overlap)
        if silence >= cutter.shortest:
            self._splice(silence)
            self._silence += silence
        elif self._behind >= self._samples(PATIENCE_MS) and room >= surplus:
            lag, _ = cutter.best_lag(self._waiting, 0, max(0, surplus - cutter.longest), surplus)
            self._splice(lag)
            self._dropped += lag
        elif self._pause == 0 and room >= cutter.longest:
            self._stretch(self._waiting, 0, cutter.shortest, cutter.longest)

    def _lengthen(self, lack: int) -> None:
        cutter = self._splicer
        if len(self._waiting) < cutter.overlap:
            return
        sound, here = np.concatenate((self._played, self._waiting)), len(self._played)
        silence = min(lack, here - cutter.overlap)
        if cutter.silence(sound) >= here + cutter.overlap:
            self._splice(-silence)
            self._silence -= silence
        elif self._pause == 0:
            self._stretch(sound, here, -cutter.longest, -cutter.shortest)

    def _stretch(self, sound: Pcm, here: int, least: int, most: int) -> None:
        lag, likeness = self._splicer.best_lag(sound, here, least, most)
        if likeness >= ALIKE:
            self._splice(lag)
            self._stretched += lag
            self._pause = round(abs(lag) / STRETCH)

    def _splice(self, lag: int) -> None:
        """Goes on `lag` samples further, or back where it is negative."""
        sound = np.concatenate((self._played, self._waiting))
        self._waiting = self._splicer.splice(sound, len(self._played), lag)
        self._shift -= lag

    def _drop(self, surplus: int) -> None:
        """Drops the oldest, at least `surplus` samples."""
        cutter = self._splicer
        if self._gap is None and len(self._waiting) >= surplus + cutter.longest + cutter.overlap:
            surplus, _ = cutter.best_lag(self._waiting, 0, surplus, surplus + cutter.longest)
            self._splice(surplus)
        else:
            self._waiting = self._waiting[surplus:]
            self._shift -= surplus
        self._dropped += surplus

    def _samples(self, ms: float) -> int:
        return round(ms * self._per_ms)
