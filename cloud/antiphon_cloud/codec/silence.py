"""Silence in codes: that which a speech-to-text model needs around its input, and that which a prompt is heard in."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.codec.mimi import Mimi

Codes = npt.NDArray[np.int32]


def silence_codes(directory: ModelDirectory, frames: int) -> Codes:
    """The codes of a stream that begins with `frames` of silence, [frames, user_codebooks]; none where the directory
    holds no weights of the codec.

    Raises:
        CheckpointError: they are damaged.
        ConfigError: the codec's config is missing or damaged.
    """
    codebooks = directory.config.lm.user_codebooks
    if not directory.mimi.exists():
        return np.zeros((0, codebooks), np.int32)
    encoder = Mimi.load(directory.mimi, directory.mimi_config, codebooks).encoder
    with torch.inference_mode():
        codes, _ = encoder(torch.zeros(frames * encoder.config.frame_samples), encoder.initial_state())
    silent: Codes = codes.numpy().astype(np.int32)
    return silent


def with_silence(directory: ModelDirectory, user_codes: Codes) -> Codes:
    """Adds the silence before and after the codes that the model needs to write every word.

    A model that needs none gets the codes unchanged. The codes before are the first frame, which models do not use, and
    a stream that begins in silence. The codes after come from an encoder that has encoded the decoded codes, so that
    its state is that of the stream.

    Args:
        directory: the model.
        user_codes: one frame per row, [T, user_codebooks].

    Raises:
        CheckpointError: the codec's weights are missing or damaged.
        ConfigError: the codec's config is missing or damaged.
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
    # The encoder restarts after the first frame, as at the edge.
    start = torch.cat((silence[:1], silence[: before - 1]))
    return np.concatenate((start.numpy(), user_codes, rest[-after:].numpy())).astype(np.int32)
