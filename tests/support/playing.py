"""A playout buffer on a speaker and a network that a test makes up, in milliseconds of the speaker's clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.audio.playout import PlayoutBuffer

RATE_HZ = 24_000
FRAME_MS, FRAME_SAMPLES = 80, 1920
CALLBACK_MS, CALLBACK_SAMPLES = 10, 240
FRAMES_IN_2_S = 25


def tone(samples: int, start: int = 0, hz: float = 300.0) -> Pcm:
    """A sine at full scale, from its sample `start` on."""
    phase = 2 * np.pi * hz / RATE_HZ * np.arange(start, start + samples)
    return np.asarray(np.sin(phase), np.float32)


def largest_jump(pcm: Pcm, hz: float = 300.0) -> float:
    """How much more than a whole sine of that frequency ever does `pcm` changes from one sample to the next."""
    return float(np.abs(np.diff(pcm, prepend=np.float32(0))).max()) - 2 * np.pi * hz / RATE_HZ


@dataclass
class Played:
    """What became of a talk."""

    pcm: Pcm
    levels_ms: list[float]
    """What waited when each frame came."""
    buffer: PlayoutBuffer


def play(
    arrivals_ms: Iterable[float],
    buffer: PlayoutBuffer | None = None,
    *,
    frame: Callable[[int], Pcm] = lambda number: tone(FRAME_SAMPLES, number * FRAME_SAMPLES),
    stalled_ms: tuple[float, float] = (0, 0),
    after_ms: float = 0,
) -> Played:
    """Plays frames that come at those times.

    Args:
        arrivals_ms: of each frame, in order.
        buffer: a new one where absent.
        frame: the samples [FRAME_SAMPLES] of a frame.
        stalled_ms: the speaker asks for nothing from the first to the second time.
        after_ms: how long it goes on after the last frame.
    """
    buffer = PlayoutBuffer(RATE_HZ) if buffer is None else buffer
    heard: list[Pcm] = []
    levels: list[float] = []
    now_ms = 0

    def until(end_ms: float) -> None:
        nonlocal now_ms
        while now_ms < end_ms:
            if not stalled_ms[0] <= now_ms < stalled_ms[1]:
                heard.append(buffer.read(CALLBACK_SAMPLES))
            now_ms += CALLBACK_MS

    at_ms = 0.0
    for number, at_ms in enumerate(arrivals_ms):
        until(at_ms)
        levels.append(buffer.stats.level_ms)
        buffer.write(frame(number))
    until(at_ms + after_ms)
    return Played(np.concatenate(heard), levels, buffer)
