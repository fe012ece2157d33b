"""The playout buffer between the network, which is late at times, and the speaker, which never waits."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from antiphon.errors import AntiphonError
from antiphon_edge.audio.pcm import Pcm

PREFILL_MS = 80  # one frame hides Wi-Fi jitter
CAPACITY_MS = 400  # what the worker sends at once after a stall; more would only be latency for the rest of the talk
STANDING_MS = 2000  # what has waited for so long without being needed is only latency
SPARE_MS = 80  # but one frame more than the prefill may: jitter comes back
FADE_MS = 5  # from speech to silence without a click


@dataclass(frozen=True, slots=True)
class PlayoutStats:
    """What a playout buffer did so far."""

    underruns: int
    dropped_samples: int  # the oldest, pushed out by an overflow or where too much stood waiting
    level_ms: float  # waiting to be played now


class PlayoutBuffer:
    """Turns frames that come when they come into a stream without gaps; no I/O and no clock, so tests drive it.

    The first audio waits for `prefill_ms`: so much later than it any following frame may come and still be in time.
    (To start as soon as one frame of 80 ms is there would hide nothing: the next must not be a moment late.) When the
    buffer runs dry it fades to silence, counts an underrun and waits again. When it is full it drops the oldest
    audio. Frames that come together after a stall would stand in it for the rest of the talk, which would be heard so
    much later: where more than `SPARE_MS` beyond the prefill was never needed for `standing_ms`, it is dropped. Every
    cut is faded over `FADE_MS`.

    `write` and `flush` belong to the event loop, `read` to the audio thread; all of it is thread-safe, and the lock is
    only held while samples are copied.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        *,
        prefill_ms: float = PREFILL_MS,
        capacity_ms: float = CAPACITY_MS,
        standing_ms: float = STANDING_MS,
    ) -> None:
        self._samples_per_ms = sample_rate_hz / 1000
        self._prefill = self._wait = round(prefill_ms * self._samples_per_ms)
        self._fade = max(1, round(FADE_MS * self._samples_per_ms))
        capacity = round(capacity_ms * self._samples_per_ms)
        if capacity <= self._prefill:
            raise AntiphonError(
                f"capacity_ms: {capacity_ms} must be more than prefill_ms, {prefill_ms}, or all of it overflows"
            )
        self._ring: Pcm = np.zeros(capacity, np.float32)
        self._start = 0
        self._level = 0
        self._standing = standing_ms * self._samples_per_ms
        self._spare = round(SPARE_MS * self._samples_per_ms)
        self._watch_level()
        self._lock = threading.Lock()
        self._playing = False
        self._flushing = False
        self._faded_in = 0  # samples since the last cut, up to the length of a fade
        self._tail: Pcm = np.zeros(0, np.float32)  # what conceals the last cut and is still to be played
        self._last = np.float32(0)
        self._underruns = 0
        self._dropped_samples = 0

    @property
    def stats(self) -> PlayoutStats:
        """Counters since the start, and the level now."""
        with self._lock:
            return PlayoutStats(self._underruns, self._dropped_samples, self._level / self._samples_per_ms)

    @property
    def empty(self) -> bool:
        """Nothing waits to be played."""
        with self._lock:
            return self._level == 0 and not len(self._tail)

    def write(self, pcm: Pcm) -> None:
        """Appends `pcm` [N]; full: drops the oldest."""
        with self._lock:
            self._flushing = False
            self._drop(self._level + len(pcm) - len(self._ring))
            pcm = pcm[max(0, len(pcm) - len(self._ring)) :]
            self._copy_in(pcm)

    def flush(self) -> None:
        """No more is coming: plays what waits without a prefill, and running dry is no underrun. `write` undoes it."""
        with self._lock:
            self._flushing = True

    def read(self, samples: int) -> Pcm:
        """The next `samples` samples for the speaker: audio, a fade or silence."""
        out = np.zeros(samples, np.float32)
        with self._lock:
            start = self._silence(samples)
            end = start + min(samples - start, self._level)
            self._copy_out(out[start:end])
            self._fade_in(out[start:end])
            self._play_tail(out[:end])
            if start < end:
                self._last = out[end - 1]
            if end < samples:
                self._run_dry(out[end:])
            else:
                self._shed(end - start)
        return out

    def _silence(self, samples: int) -> int:
        """How many of the next `samples` samples are silent because the first audio is still waiting."""
        if self._playing:
            return 0
        if self._level == 0:
            return samples
        silence = 0 if self._flushing else min(samples, self._wait)
        self._wait -= silence
        self._playing = silence < samples
        return silence

    def _run_dry(self, gap: Pcm) -> None:
        if not self._flushing:
            self._underruns += 1
        self._playing = False
        self._wait = self._prefill
        self._watch_level()
        self._conceal()
        self._play_tail(gap)

    def _watch_level(self) -> None:
        self._watched, self._lowest = 0, len(self._ring)  # samples played since, and the least that was left after any

    def _shed(self, played: int) -> None:
        """Drops what has stood here too long."""
        self._watched += played
        self._lowest = min(self._lowest, self._level)
        if self._watched >= self._standing:
            if self._lowest > self._prefill + self._spare and not self._flushing:
                self._drop(self._lowest - self._prefill)
            self._watch_level()

    def _conceal(self) -> None:
        """Decides what is heard after a cut. A concealment that goes on with the speech would begin here."""
        self._tail = self._last * np.linspace(1, 0, self._fade, endpoint=False, dtype=np.float32)
        self._last = np.float32(0)
        self._faded_in = 0

    def _play_tail(self, out: Pcm) -> None:
        now = min(len(out), len(self._tail))
        out[:now] += self._tail[:now]
        self._tail = self._tail[now:]

    def _fade_in(self, out: Pcm) -> None:
        now = min(len(out), self._fade - self._faded_in)
        out[:now] *= np.arange(self._faded_in + 1, self._faded_in + now + 1, dtype=np.float32) / self._fade
        self._faded_in += now

    def _drop(self, samples: int) -> None:
        if samples <= 0:
            return
        self._dropped_samples += samples
        oldest = min(samples, self._level)
        self._start = (self._start + oldest) % len(self._ring)
        self._level -= oldest
        if self._playing:
            self._conceal()

    def _copy_in(self, pcm: Pcm) -> None:
        end = (self._start + self._level) % len(self._ring)
        first = min(len(pcm), len(self._ring) - end)
        self._ring[end : end + first] = pcm[:first]
        self._ring[: len(pcm) - first] = pcm[first:]
        self._level += len(pcm)

    def _copy_out(self, out: Pcm) -> None:
        first = min(len(out), len(self._ring) - self._start)
        out[:first] = self._ring[self._start : self._start + first]
        out[first:] = self._ring[: len(out) - first]
        self._start = (self._start + len(out)) % len(self._ring)
        self._level -= len(out)
