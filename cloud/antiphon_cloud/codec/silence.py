"""The silence around what a speech-to-text model hears, for codes whose sound is not at hand."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.codec.mimi import Mimi

Codes = npt.NDArray[np.int32]


def with_silence(directory: ModelDirectory, user_codes: Codes) -> Codes:
    """The codes with as much silence before and after them as the model needs to write every word; the same codes for a
    model that needs none.

    Before them stands the frame that no model hears, and the codes of a stream that begins in silence. After them stand
    those of an encoder that heard them: its state is that of the sound which the codes stand for.

    Args:
        directory: the model.
        user_codes: one frame a row, [T, user_codebooks].

    Raises:
        CheckpointError: the codec's weights are missing or damaged.
        ConfigError: so is its description.
    """
    config = directory.config
    if not config.silence_after_s:
        return user_codes
    mimi = Mimi.load(directory.mimi, directory.mimi_config, config.lm.user_codebooks)
    sizes = mimi.config
    before = 1 + math.ceil(config.silence_before_s * sizes.frame_rate)
    after = math.ceil(config.silence_after_s * sizes.frame_rate)
    with torch.inference_mode():
        silence, _ = mimi.encoder(torch.zeros(before * sizes.frame_samples), mimi.encoder.initial_state())
        last = torch.from_numpy(user_codes[-sizes.transformer.context :].astype(np.int64))
        heard, _ = mimi.decoder(last, mimi.decoder.initial_state())
        heard = torch.cat((heard, torch.zeros(after * sizes.frame_samples)))
        rest, _ = mimi.encoder(heard, mimi.encoder.initial_state())
    # The encoder starts again after the first frame, as at the edge.
    start = torch.cat((silence[:1], silence[: before - 1]))
    return np.concatenate((start.numpy(), user_codes, rest[-after:].numpy())).astype(np.int32)
