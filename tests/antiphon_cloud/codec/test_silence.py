"""Codes get the silence that a speech-to-text model needs around them."""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.codec.mimi import Mimi
from antiphon_cloud.codec.silence import with_silence
from tests.support.language_models import GOLDEN, copy_model


def test_silence_stands_before_and_after_the_codes(tmp_path: Path) -> None:
    stt = {"audio_delay_seconds": 2.5, "audio_silence_prefix_seconds": 1.0}
    directory = ModelDirectory.open(copy_model("stt-tiny", tmp_path / "stt", stt_config=stt))
    user = load_file(GOLDEN / "mimi-tiny/expected.safetensors")["codes"][:30]
    codes = with_silence(directory, user)
    before, after = 1 + 13, 44  # frames of 80 ms: the one that nobody hears, 1 s, and 3.5 s
    assert codes.dtype == np.int32
    assert codes.shape == (before + 30 + after, 8)
    np.testing.assert_array_equal(codes[before:-after], user)

    mimi = Mimi.load(directory.mimi, directory.mimi_config)
    with torch.inference_mode():
        silence, _ = mimi.encoder(torch.zeros(13 * 1920), mimi.encoder.initial_state())
        # The codec's context, here 20 frames, is as far back as its state reaches.
        heard, _ = mimi.decoder(torch.from_numpy(user[10:].astype(np.int64)), mimi.decoder.initial_state())
        rest, _ = mimi.encoder(torch.cat((heard, torch.zeros(44 * 1920))), mimi.encoder.initial_state())
    np.testing.assert_array_equal(codes[1:before], silence)
    np.testing.assert_array_equal(codes[-after:], rest[20:])


def test_a_model_that_speaks_gets_none() -> None:
    user = load_file(GOLDEN / "moshi-tiny/expected.safetensors")["user_codes"]
    np.testing.assert_array_equal(with_silence(ModelDirectory.open(GOLDEN / "moshi-tiny"), user), user)
