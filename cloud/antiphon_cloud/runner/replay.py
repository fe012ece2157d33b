"""A conversation run offline: user codes from a file, all tokens into another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from antiphon.history import HistoryTokens
from antiphon.spec import Sampling
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.runner.runner import ModelRunner
from antiphon_cloud.runner.settings import DEFAULT, SessionSettings

CHUNK_STEPS = 64  # of a prefill

Arrays = dict[str, npt.NDArray[np.generic]]


def replay(
    directory: ModelDirectory,
    user_codes: npt.NDArray[np.int32],
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    quantize: str | None = None,
    kv_dtype: torch.dtype | None = None,
    sampling: Sampling | None = None,
    seed: int = 0,
    taps: bool = False,
    threads: int | None = None,
    past: HistoryTokens | None = None,
    settings: SessionSettings = DEFAULT,
) -> Arrays:
    """Runs a conversation from its first step.

    Args:
        directory: the model.
        user_codes: one frame a row, [T, user_codebooks].
        dtype: of activations, and of weights that are not int8.
        device: where torch runs.
        quantize: "none", "int8", or None for weights as the directory holds them.
        kv_dtype: of keys and values; None for the activations' dtype.
        sampling: the model's own unless given.
        seed: of the session.
        threads: of a step; None for as many as before.
        past: tokens before the first frame, of a prompt.
        settings: what the model is told for the whole session.
        taps: whether to keep `text_logits` [T, text_card] and `extra_heads` [T, heads, classes], float32.

    Returns:
        `tokens` int32 [T − delay, 1 + dep_q], aligned text and codes; and the taps. After a prompt there is no delay.

    Raises:
        CheckpointError: the weights are missing, damaged, or another model's.
        ConfigError: `quantize` contradicts the directory, or the model does not fit in memory.
        PreconditionError: the settings ask for what the model does not have.
    """
    runner = ModelRunner.load(directory, 1, dtype, device, quantize=quantize, kv_dtype=kv_dtype, threads=threads)
    if past is None:
        runner.reset(0, seed, sampling or runner.spec.sampling, settings)
    else:
        prefill = runner.resume(0, seed, sampling or runner.spec.sampling, past, settings)
        while prefill.left:
            prefill.advance(CHUNK_STEPS)
    tokens, text_logits, extra_heads = [], [], []
    for frame in user_codes:
        result = runner.step([0], frame[None])
        tokens.append(np.concatenate((result.text, result.codes[0])))
        if taps:
            text_logits.append(runner.text_logits[0])
            extra_heads.append(runner.extra_heads[0])
    arrays: Arrays = {"tokens": np.stack(tokens)[runner.spec.delay_steps :]}
    if taps:
        arrays |= {"text_logits": np.stack(text_logits), "extra_heads": np.stack(extra_heads)}
    return arrays
