"""Microphone and speaker, tried together: soft noise is played, and what the microphone hears of it is looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from antiphon_edge.audio.microphone import Microphone
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.audio.speaker import Speaker
from antiphon_edge.doctor.echo_path import EchoPath, find_echo, probe
from antiphon_edge.errors import AudioDeviceError

RATE_HZ = 24_000
FRAME_SAMPLES = 1920
SIGNAL_S = 6.0
QUIET_S = 1.0  # before it, for the noise of the room
TAIL_S = 1.0  # after it, for an echo that comes late


@dataclass(frozen=True, slots=True)
class SoundCheck:
    """What came of the trial."""

    problem: str | None = None
    """Why it could not be made; the rest is then empty."""
    microphone: str = ""
    speaker: str = ""
    room_dbfs: float | None = None
    """The loudest of the microphone before anything is played; None in digital silence."""
    peak_dbfs: float | None = None
    """The loudest of all that it heard."""
    echo: EchoPath | None = None
    losses: int = 0
    """Overflows, underflows, dropped frames and gaps: with some the echo's figures are not to be trusted."""


async def check_sound(input_device: str | None, output_device: str | None) -> SoundCheck:
    """Plays and listens for some seconds; errors are in what it returns."""
    signal = probe(RATE_HZ, SIGNAL_S)
    quiet, tail = (round(seconds * RATE_HZ / FRAME_SAMPLES) for seconds in (QUIET_S, TAIL_S))
    frames = [np.zeros(FRAME_SAMPLES, np.float32)] * quiet
    frames += [signal[at : at + FRAME_SAMPLES] for at in range(0, len(signal), FRAME_SAMPLES)]
    frames += frames[:1] * tail
    heard: list[Pcm] = []
    try:
        async with (
            Speaker(RATE_HZ, output_device) as speaker,
            Microphone(RATE_HZ, FRAME_SAMPLES, input_device) as microphone,
        ):
            before = 0
            for frame in frames:
                heard.append(await anext(microphone))
                speaker.write(frame)
                if len(heard) == quiet:  # what was lost while the devices started does no harm
                    before = _losses(microphone, speaker)
            losses = _losses(microphone, speaker) - before
            outages = microphone.outages + speaker.outages
            names = microphone.device.name, speaker.device.name
    except AudioDeviceError as error:
        return SoundCheck(str(error))
    if outages:
        return SoundCheck("a device went away amid the sound check: see its cable, and what else uses it", *names)
    whole = np.concatenate(heard)
    room = whole[: quiet * FRAME_SAMPLES]
    return SoundCheck(
        None,
        *names,
        room_dbfs=_dbfs(room),
        peak_dbfs=_dbfs(whole),
        echo=find_echo(whole[(quiet + 1) * FRAME_SAMPLES :], signal, RATE_HZ, float(np.mean(np.square(room)))),
        losses=losses,
    )


def _losses(microphone: Microphone, speaker: Speaker) -> int:
    return microphone.overflows + microphone.dropped_frames + speaker.underflows + speaker.stats.underruns


def _dbfs(samples: Pcm) -> float | None:
    peak = float(np.abs(samples).max(initial=0.0))
    return round(20 * math.log10(peak), 1) if peak > 0 else None
