"""What is said into the microphone of a sound server without hardware, and what its speaker plays, with the times."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from antiphon_edge.audio.pcm import Pcm
from tools.talk.sound_server import SoundServer

RATE_HZ = 24_000
BURST_S = 0.12
EVERY_S = 1.017  # so that bursts fall anywhere in a frame
LOUD = 0.1  # of full scale: a burst has begun
QUIET_S = 0.3  # before it


def bursts(seconds: float) -> Pcm:
    """A tone of 440 Hz for `BURST_S` every `EVERY_S`, in silence."""
    pcm = np.zeros(round(seconds * RATE_HZ), np.float32)
    tone = 0.5 * np.sin(2 * np.pi * 440 / RATE_HZ * np.arange(round(BURST_S * RATE_HZ)))
    for number in range(1, int(seconds / EVERY_S)):
        at = round(number * EVERY_S * RATE_HZ)
        pcm[at : at + len(tone)] = tone
    return pcm


class Onsets:
    """Finds where bursts begin in blocks of sound that come one after the other."""

    def __init__(self) -> None:
        self._quiet = 0.0  # samples since the last loud one

    def find(self, block: Pcm) -> list[int]:
        """The indices in `block` [N] of the first samples of bursts."""
        found = []
        before = -1
        for index in np.flatnonzero(np.abs(block) > LOUD):
            if self._quiet + index - before - 1 > QUIET_S * RATE_HZ:
                found.append(int(index))
            self._quiet, before = 0.0, int(index)
        self._quiet += len(block) - before - 1
        return found


class Ear:
    """When bursts begin in what a sink plays, in seconds of `time.monotonic`."""

    def __init__(self, onsets_s: list[float], process: subprocess.Popen[bytes]) -> None:
        self.onsets_s = onsets_s
        self._process = process
        self._find = Onsets()

    def listen(self) -> None:
        """Until the process ends."""
        assert self._process.stdout is not None
        while data := os.read(self._process.stdout.fileno(), 1 << 16):
            now_s = time.monotonic()
            block = np.frombuffer(data[: len(data) // 4 * 4], np.float32)
            self.onsets_s += [now_s - (len(block) - index) / RATE_HZ for index in self._find.find(block)]


@contextmanager
def ear(sound: SoundServer, sink: str) -> Iterator[list[float]]:
    """The times at which bursts begin in what `sink` plays; the list grows until the block ends."""
    command = ["parec", f"--device={sink}.monitor", "--raw", "--format=float32le", "--channels=1", "--latency-msec=5"]
    with subprocess.Popen([*command, f"--rate={RATE_HZ}"], env=sound.env, stdout=subprocess.PIPE, bufsize=0) as process:
        heard: list[float] = []
        thread = threading.Thread(target=Ear(heard, process).listen)
        thread.start()
        try:
            yield heard
        finally:
            process.terminate()
            thread.join()


def pairs(said_s: list[float], heard_s: list[float]) -> list[tuple[float, float]]:
    """Each burst's time in `said_s`, and the first in `heard_s` after it, where that comes before the next burst."""
    found = []
    for at_s in said_s:
        later = [other_s for other_s in heard_s if 0 < other_s - at_s < EVERY_S - 0.1]
        if later:
            found.append((at_s, later[0]))
    return found
