"""What matrices are rounded by."""

import json
from pathlib import Path

import numpy as np
import onnx

from antiphon.codec_manifest import GraphState
from antiphon_cloud.codec.int8.calibration import make_voice, sample_inputs
from antiphon_cloud.codec.int8.quantize import products


def test_the_voice_is_the_same_every_time_and_changes_all_the_time() -> None:
    voice = make_voice(48_000, 24_000)
    np.testing.assert_array_equal(voice, make_voice(48_000, 24_000))
    assert (str(voice.dtype), voice.shape) == ("float32", (48_000,))
    assert 0.59 < np.abs(voice).max() < 0.61
    loudness = np.sqrt(np.square(voice).reshape(25, -1).mean(1))
    assert loudness.max() > 4 * loudness.min()
    assert np.abs(np.fft.rfft(voice))[:2_000].sum() > np.abs(np.fft.rfft(voice))[-2_000:].sum()  # more low than high


def test_every_matrix_gets_samples_of_what_it_multiplies(tiny_codec: Path) -> None:
    model = onnx.load(tiny_codec / "encoder.onnx")
    manifest = json.loads((tiny_codec / "codec.json").read_text())["encoder"]
    states = [GraphState(**{**state, "shape": tuple(state["shape"])}) for state in manifest["states"]]
    found = sample_inputs(model, "pcm", states, make_voice(3 * 1920, 24_000).reshape(3, -1))
    sizes = {entry.name: tuple(entry.dims) for entry in model.graph.initializer}
    assert found.keys() == products(model).keys()
    assert all(samples.shape[1] == sizes[name][0] for name, samples in found.items())
    assert all(3 <= len(samples) <= 3 * 48 for samples in found.values())
    assert all(samples.any() for samples in found.values())
