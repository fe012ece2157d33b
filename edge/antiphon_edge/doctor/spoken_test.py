"""Microphone and speaker, tried by a person: a sentence is played, the person answers, and hears what was heard.

The sentence was spoken by espeak-ng 1.51:

    espeak-ng -v en-us -s 145 -w sentence.wav "Hello, this is Antiphon. Please say something now."
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from antiphon_edge.audio.microphone import Microphone
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.audio.speaker import Speaker
from antiphon_edge.audio.volume import gain
from antiphon_edge.audio.wav import WavReader
from antiphon_edge.doctor.sound_check import CLIPPING_DBFS, FAINT_DBFS, FRAME_SAMPLES, RATE_HZ, peak_dbfs

SENTENCE = Path(__file__).parent / "sentence.ogg"
ANSWER_S = 4.0
FRAME_S = FRAME_SAMPLES / RATE_HZ


@dataclass(frozen=True, slots=True)
class SpokenTest:
    """What the microphone heard: the loudest moments, in decibels below full scale; None in digital silence."""

    microphone: str
    speaker: str
    sentence_dbfs: float | None
    """While the sentence was played."""
    person_dbfs: float | None
    """While the person was asked to speak."""

    def findings(self) -> list[str]:
        """What it amounts to, in sentences."""
        person, sentence = self.person_dbfs, self.sentence_dbfs
        if person is None and sentence is None:
            return [f"the microphone {self.microphone!r} sends nothing but zeros: unmute it, or choose another"]
        found = [] if sentence is None else [f"the microphone heard the sentence at {sentence:.0f} dBFS"]
        if person is None:
            return [*found, "it heard nothing of you: speak when you are asked to"]
        found.append(f"the microphone heard you at {person:.0f} dBFS")
        if person > CLIPPING_DBFS:
            found.append("you are too loud for it: turn its gain down, or speak from farther away")
        elif person < FAINT_DBFS:
            found.append("it hears little of you: turn its gain up, or come nearer")
        if sentence is not None and sentence > person:
            found.append("it hears the speaker louder than you: turn the volume down, or move the speaker away")
        return found


async def try_sound(
    input_device: str | None, output_device: str | None, volume: float, on_answer: Callable[[], None]
) -> SpokenTest:
    """Plays the sentence, listens to the person, and plays what it has heard.

    Args:
        input_device: the microphone's name; None for the system's default.
        output_device: the speaker's.
        volume: 0 to 100.
        on_answer: called when it is the person's turn.

    Raises:
        AudioDeviceError: a device is not there, or refuses.
    """
    with WavReader(SENTENCE, RATE_HZ, FRAME_SAMPLES) as reader:
        sentence = list(reader)
    async with (
        Speaker(RATE_HZ, output_device) as speaker,
        Microphone(RATE_HZ, FRAME_SAMPLES, input_device) as microphone,
    ):

        async def play(frames: list[Pcm]) -> Pcm:
            heard = []
            for frame in frames:
                heard.append(await anext(microphone))
                speaker.write(frame * gain(volume))
            await speaker.drain()
            return np.concatenate(heard)

        def nothing(seconds: float) -> list[Pcm]:
            return [np.zeros(FRAME_SAMPLES, np.float32)] * round(seconds / FRAME_S)

        await play(nothing(0.5))  # what devices do as they start
        during = await play([*sentence, *nothing(0.5)])
        on_answer()
        answer = await play(nothing(ANSWER_S))
        await play([answer[at : at + FRAME_SAMPLES] for at in range(0, len(answer), FRAME_SAMPLES)])
        return SpokenTest(
            microphone.device.name, speaker.device.name, sentence_dbfs=peak_dbfs(during), person_dbfs=peak_dbfs(answer)
        )
