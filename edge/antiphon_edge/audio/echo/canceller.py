"""The place of the echo canceller in the live chain: microphone → `EchoCanceller.process` → codec.

Whoever talks through a loudspeaker needs one, or the model hears itself. It compares two signals: what the microphone
heard (with the echo in it) and what the speaker played, the far end. Three choices make that work:

- The far end is taken where samples leave the playout buffer, at 24 kHz, with the silence of underruns in it: the
  room echoes what was played, not what the model sent.
- Both signals meet by time (`far_end`), as the two devices' clocks have it. From then on sample stands beside
  sample, apart by a constant delay (what both devices hold, and the air), which every canceller can follow.
- They meet in the event loop. A canceller takes some milliseconds a frame: too slow for an audio callback, no matter
  here.

    far_end = FarEnd(24_000)
    canceller = VoiceProcessor(24_000)
    async with (
        Speaker(24_000, far_end=far_end) as speaker,
        Microphone(24_000, 1920, canceller=canceller, far_end=far_end) as microphone,
    ):
        async for near in microphone: ...
"""

from __future__ import annotations

from typing import Protocol

from antiphon_edge.audio.echo.timing import EchoTiming
from antiphon_edge.audio.pcm import Pcm


class EchoCanceller(Protocol):
    """Removes from the microphone's signal what the speaker played. Holds state: one for each conversation.

    `processor.VoiceProcessor` is the one that `talk` uses.
    """

    @property
    def timing(self) -> EchoTiming | None:
        """When the echo in the last frame came; None where it does not tell."""
        ...

    def process(self, mic: Pcm, far: Pcm) -> Pcm:
        """The near end alone, as many samples as `mic`; `mic` and `far` [N] have one length and stay as they are."""
        ...
