from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.support.clips import save_bank, tones
from tests.support.killed import kill_at, same_weights
from tools.clerk.train import encoder, quantization
from tools.clerk.train.data.clips import DIGITS, FRAME
from tools.clerk.train.data.crowd import Crowd
from tools.clerk.train.data.scenes import CLASSES, OTHER
from tools.clerk.train.encoder import FRAMES, Scenes

BANK, UNITS = [Crowd(tones())], dict(zip(DIGITS, tones(), strict=True))


def test_a_batch_is_the_same_wherever_a_run_starts() -> None:
    whole = list(islice(Scenes(BANK, UNITS, 2, (5, 0)), 3))
    rest = list(islice(Scenes(BANK, UNITS, 2, (5, 0), first=1), 2))
    for (samples, labels), (again, labels_again) in zip(whole[1:], rest, strict=True):
        assert samples.shape == (2, FRAMES * FRAME)
        assert labels.shape == (2, FRAMES)
        assert torch.equal(samples, again)
        assert torch.equal(labels, labels_again)


def test_batches_differ_by_number_and_by_process() -> None:
    first, second = islice(Scenes(BANK, UNITS, 2, (5, 0)), 2)
    (other,) = islice(Scenes(BANK, UNITS, 2, (5, 1)), 1)
    assert not torch.equal(first[0], second[0])
    assert not torch.equal(first[0], other[0])


STAGES = ["--warm-up", "3", "--freeze", "4"]  # the codebooks start at step 3, the front layers stay from step 4 on


@pytest.mark.parametrize("step", [3, 5], ids=["before the codebooks", "after them"])
def test_a_run_that_was_killed_and_started_again_ends_like_one_that_was_not(
    step: int, golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "CHECKPOINT_STEPS", 2)
    monkeypatch.setattr(quantization, "RARE", 40.0)  # each step moves unused centroids to vectors that it draws
    save_bank(tmp_path / "bank")

    def train(out: Path) -> dict[str, Tensor]:
        given = [str(path) for path in (tmp_path / "bank", golden / "mimi-tiny/mimi_config.json", out)]
        encoder.main([*given, "--steps", "6", "--batch", "1", *STAGES])
        return load_file(out / "encoder.safetensors")

    whole = train(tmp_path / "whole")
    kill_at(step, lambda: train(tmp_path / "killed"), encoder, "evaluate", monkeypatch)
    assert torch.load(tmp_path / "killed/encoder.pt", weights_only=True)["step"] == step - 1
    assert same_weights(whole, train(tmp_path / "killed"))


def test_a_run_from_a_trained_codec_begins_with_its_weights_while_the_heads_learn(golden: Path, tmp_path: Path) -> None:
    save_bank(tmp_path / "bank")
    start = load_file(golden / "mimi-tiny/mimi.safetensors")
    given = [str(path) for path in (tmp_path / "bank", golden / "mimi-tiny/mimi_config.json")]
    options = ["--batch", "1", "--warm-up", "2", "--start", str(golden / "mimi-tiny")]

    def moved(steps: int) -> list[str]:
        out = tmp_path / str(steps)
        encoder.main([*given, str(out), "--steps", str(steps), *options])
        trained = load_file(out / "encoder.safetensors")
        weights = [name for name in trained if name.startswith("encoder") and name.endswith("weight")]
        assert weights
        return [name for name in weights if not torch.equal(trained[name], start[name].float())]

    assert moved(2) == []
    assert moved(3)


def test_an_echo_that_nobody_speaks_over_has_no_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "ECHOES", 1.0)
    batches = islice(Scenes(BANK, UNITS, 4, (5, 0), answers=0.0), 4)
    labels = torch.cat([labels for _, labels in batches])
    assert (labels == encoder.UNKNOWN).any()
    assert (labels > 0).any()


def test_other_words_have_a_class_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "ECHOES", 0.0)
    hello = [replace(clip, words=(replace(clip.words[0], text="hello"),)) for clip in tones()]
    batches = islice(Scenes([Crowd(tones(), hello)], UNITS, 4, (5, 0), answers=0.0), 4)
    labels = torch.cat([labels for _, labels in batches])
    assert (labels == OTHER).any()
    assert ((labels > 0) & (labels < OTHER)).any()
    assert int(labels.max()) < CLASSES
