"""What the model hears of a person: samples in, the codes that the published servers would feed it out.

hearing = Hearing(codec, session.model)
for codes in hearing.codes(frames):
    await session.send(codes)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from antiphon.codes import Codes
from antiphon.errors import PreconditionError
from antiphon.spec import CodecSpec, ModelSpec
from antiphon_edge.audio.pcm import BlockBuffer, Pcm, Samples, as_pcm
from antiphon_edge.codec.codec import Codec


def lead_in_samples(model: ModelSpec, codec: CodecSpec) -> int:
    """Samples of silence that the model hears before the first sound."""
    unheard = 0 if model.model_codebooks else codec.frame_samples
    return unheard + model.silence_before_ms * codec.sample_rate_hz // 1000


class Hearing:
    """One conversation's way from samples to user codes. It outlives the session's streams: a session that is resumed
    goes on with it as it is.

    No model hears a session's first frame, since its first step sees initial tokens only. The published servers restart
    the encoder after that frame, so that the first frame that is heard is encoded as a stream's first. So does this,
    but for a model that takes a voice: its first steps are its prompt's, and it hears every frame.

    A model that only listens writes its words late, and some need silence first. So silence goes before the first
    sound and after the last one, as `ModelSpec` says, and one frame of it before all else, that nothing of the sound be
    in the frame that is not heard.

    Args:
        codec: the codec that the session was opened with.
        model: who hears.

    Raises:
        PreconditionError: the codec makes fewer codebooks than the model hears, or others.
    """

    def __init__(self, codec: Codec, model: ModelSpec) -> None:
        spec = codec.spec
        if spec.codebooks < model.user_codebooks or spec.cardinality != model.cardinality:
            raise PreconditionError(
                f"this codec makes {spec.codebooks} codebooks of {spec.cardinality}, the model hears "
                f"{model.user_codebooks} of {model.cardinality}: pull the worker's codec"
            )
        self.encoder = codec.encoder(restart=not model.takes_voice)
        """That `step` steps."""
        self._codebooks = model.user_codebooks
        self._frame_samples = spec.frame_samples
        self._buffer = BlockBuffer()
        self._before = lead_in_samples(model, spec)
        self._after = model.silence_after_ms * spec.sample_rate_hz // 1000

    def lead_in(self) -> Iterator[Pcm]:
        """The whole frames [frame_samples] of silence before the first sound; what is left over begins the next one."""
        return self.frames(np.zeros(self._before, np.float32))

    def frames(self, pcm: Samples) -> Iterator[Pcm]:
        """The frames [frame_samples] that `pcm` [N] completes; the rest waits for more.

        Raises:
            AntiphonError: as `as_pcm`.
        """
        self._buffer.put(as_pcm(pcm))
        return self._buffer.frames(self._frame_samples)

    def lead_out(self) -> Iterator[Pcm]:
        """The last frames [frame_samples]: what still waits, and silence after it to the end of a frame."""
        length = len(self._buffer) + self._after
        padding = -length % self._frame_samples
        return self.frames(np.zeros(self._after + padding, np.float32))

    def step(self, pcm: Samples) -> Codes:
        """The user codes [user_codebooks] of the next frame [frame_samples]; errors as `Encoder.step`."""
        return self.heard(self.encoder.step(pcm))

    def heard(self, codes: Codes) -> Codes:
        """Of the codes [codebooks] of a frame those that the model hears, [user_codebooks]."""
        return codes[: self._codebooks]

    def codes(self, blocks: Iterable[Samples]) -> Iterator[Codes]:
        """All of it: the user codes [user_codebooks] of each frame of `blocks` [N], with the silence around them."""
        yield from map(self.step, self.lead_in())
        for block in blocks:
            yield from map(self.step, self.frames(block))
        yield from map(self.step, self.lead_out())
