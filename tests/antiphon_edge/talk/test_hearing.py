"""What the model hears: the codes that the published servers would feed it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file

from antiphon.errors import PreconditionError
from antiphon.spec import ModelSpec, Sampling
from antiphon_edge.codec.codec import Codec
from antiphon_edge.talk.hearing import Hearing

FRAME = 1920
SPEAKS = ModelSpec("tiny", "moshi", 8, 8, 2048, 256, 1, 40, Sampling(), "float32")
LISTENS = replace(SPEAKS, model_type="stt", model_codebooks=0, delay_steps=0)


@pytest.fixture(scope="module")
def codec(tiny_codec: Path) -> Codec:
    return Codec.load(tiny_codec, only="encoder")


@pytest.fixture(scope="module")
def expected(golden: Path) -> dict[str, npt.NDArray[Any]]:
    tensors = load_file(golden / "mimi-tiny/expected.safetensors")
    return {"pcm": tensors["pcm"][: 20 * FRAME], "codes": tensors["codes"][:20]}


def plain(codec: Codec, pcm: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """One stream of the encoder over all of it."""
    encoder = codec.encoder()
    return np.stack([encoder.step(frame) for frame in pcm.reshape(-1, FRAME)])


def test_the_first_frame_that_is_heard_is_encoded_as_a_streams_first(
    codec: Codec, expected: dict[str, npt.NDArray[Any]]
) -> None:
    first = expected["pcm"][5 * FRAME : 6 * FRAME]  # whatever it is, the model never hears it
    heard = list(Hearing(codec, SPEAKS).codes([first, expected["pcm"]]))
    np.testing.assert_array_equal(heard[0], plain(codec, first)[0])
    np.testing.assert_array_equal(heard[1:], expected["codes"])


def test_the_encoder_is_restarted_once(codec: Codec, expected: dict[str, npt.NDArray[Any]]) -> None:
    hearing = Hearing(codec, SPEAKS)
    frames = expected["pcm"].reshape(-1, FRAME)
    heard = [hearing.step(frame) for frame in frames]
    np.testing.assert_array_equal(heard[1:], plain(codec, expected["pcm"][FRAME:]))
    assert (np.array(heard[1:9]) != expected["codes"][1:9]).any(), "these would be one stream's, never restarted"


def test_a_model_that_takes_a_voice_hears_every_frame_so_the_encoder_goes_on(
    codec: Codec, expected: dict[str, npt.NDArray[Any]]
) -> None:
    hearing = Hearing(codec, replace(SPEAKS, takes_voice=True, delay_steps=0))
    np.testing.assert_array_equal(
        [hearing.step(frame) for frame in expected["pcm"].reshape(-1, FRAME)], expected["codes"]
    )


def test_a_model_that_listens_hears_all_of_the_sound_as_the_references_transcription_does(
    codec: Codec, expected: dict[str, npt.NDArray[Any]]
) -> None:
    model = replace(LISTENS, silence_after_ms=1500)
    sound = expected["pcm"][: 10 * FRAME + 700]  # a file ends where it ends
    heard = list(Hearing(codec, model).codes([sound[:5000], sound[5000:]]))
    padded = np.pad(sound, (0, 36_000))  # the reference: silence, then whole frames, the first of them stepped twice
    padded = np.pad(padded, (0, -len(padded) % FRAME))
    np.testing.assert_array_equal(heard[1:], plain(codec, padded))


def test_silence_goes_before_the_sound_to_the_sample(codec: Codec, expected: dict[str, npt.NDArray[Any]]) -> None:
    model = replace(LISTENS, silence_before_ms=1000, silence_after_ms=3500)
    sound = expected["pcm"][: 2 * FRAME]
    heard = list(Hearing(codec, model).codes([sound]))
    padded = np.pad(sound, (24_000, 84_000))
    padded = np.pad(padded, (0, -len(padded) % FRAME))
    np.testing.assert_array_equal(heard[1:], plain(codec, padded))


def test_a_model_that_hears_fewer_codebooks_gets_the_first_ones(
    codec: Codec, expected: dict[str, npt.NDArray[Any]]
) -> None:
    few = list(Hearing(codec, replace(SPEAKS, user_codebooks=4)).codes([expected["pcm"]]))
    all_of_them = list(Hearing(codec, SPEAKS).codes([expected["pcm"]]))
    np.testing.assert_array_equal(few, np.array(all_of_them)[:, :4])


@pytest.mark.parametrize("change", [{"user_codebooks": 16}, {"cardinality": 1024}])
def test_a_codec_that_does_not_suit_the_model_is_refused(codec: Codec, change: Any) -> None:
    with pytest.raises(PreconditionError, match="this codec makes 8 codebooks of 2048, the model hears"):
        Hearing(codec, replace(SPEAKS, **change))
