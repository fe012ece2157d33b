"""Voices beside a model that attends to them: their names, and which files are meant."""

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from antiphon.errors import PreconditionError
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.speaker_voices import list_voices, read_voice, voice_digests, voice_file
from antiphon_cloud.errors import CheckpointError
from tests.support.told_models import HIBIKI, TTS, write_model, write_voice


@pytest.fixture
def directory(tmp_path: Path) -> ModelDirectory:
    write_model(tmp_path, TTS)
    for seed, name in enumerate(("ben", "expresso/ex03", "anna")):
        write_voice(tmp_path, name, seed=seed)
    (tmp_path / "voices" / "other.wav.ab12@8.safetensors").write_bytes(b"of another epoch")
    return ModelDirectory.open(tmp_path)


def test_voices_are_listed_by_their_path_and_those_of_other_models_are_not(directory: ModelDirectory) -> None:
    assert list_voices(directory) == ("anna", "ben", "expresso/ex03")


def test_a_model_that_attends_to_no_voice_has_none(directory: ModelDirectory) -> None:
    write_model(directory.root, HIBIKI | {"model_id": TTS["model_id"]})
    assert list_voices(ModelDirectory.open(directory.root)) == ()


@pytest.mark.parametrize("name", ["expresso/ex03", "expresso/ex03.wav"])
def test_a_voice_is_found_by_its_name_with_or_without_its_ending(name: str, directory: ModelDirectory) -> None:
    assert voice_file(directory, name) == directory.root / "voices/expresso/ex03.wav.ab12@7.safetensors"


@pytest.mark.parametrize("name", ["", "eve", "../voices/anna", "/etc/passwd", "expresso//ex03", "a\0b", "x" * 300])
def test_any_other_name_is_refused_with_some_that_there_are(name: str, directory: ModelDirectory) -> None:
    with pytest.raises(PreconditionError, match=r"this model has none of the name; take anna, ben, expresso/ex03$"):
        voice_file(directory, name)


def test_a_link_to_the_published_voices_does(tmp_path: Path, directory: ModelDirectory) -> None:
    (directory.root / "voices").rename(tmp_path / "tts-voices")
    (directory.root / "voices").symlink_to(tmp_path / "tts-voices")
    assert "expresso/ex03" in list_voices(directory)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"speaker_wavs": torch.zeros(1, 5, 3)}, r"speaker_wavs: expected \[1, 6, steps\] in floats, found F32 \[1, 5"),
        ({"speaker_wavs": torch.zeros(1, 6, 126)}, "expected 1 to 125 steps, found 126"),
        ({"wavs": torch.zeros(1, 6, 3)}, "found none"),
    ],
)
def test_a_voice_of_another_shape_is_refused(tensors: dict[str, torch.Tensor], words: str, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "voice.safetensors")
    with pytest.raises(CheckpointError, match=words):
        read_voice(tmp_path / "voice.safetensors", "speaker_wavs", 6)


def test_voices_of_other_content_have_other_digests_and_damaged_ones_none(
    directory: ModelDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    before = voice_digests(directory)
    write_voice(directory.root, "anna", seed=9)
    voice_file(directory, "ben").write_bytes(b"no tensors")
    with caplog.at_level(logging.WARNING):
        after = voice_digests(directory)
    assert before["anna"] != after["anna"]
    assert before["expresso/ex03"] == after["expresso/ex03"]
    assert "ben" not in after
    assert "the voice ben is left out" in caplog.text
