from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from antiphon.errors import AntiphonError
from antiphon_cloud.codec.mimi import Encoder, MimiConfig
from tests.support.clips import save_bank
from tests.support.killed import kill_at, same_weights
from tools.clerk.train import decoder
from tools.clerk.train.layout import Initial, save


@pytest.fixture
def given(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stage's first two arguments, bank and config; a checkpoint every two steps."""
    monkeypatch.setattr(decoder, "CHECKPOINT_STEPS", 2)
    save_bank(tmp_path / "bank")
    return [str(tmp_path / "bank"), str(golden / "mimi-tiny/mimi_config.json")]


def encode_with(given: list[str], seed: int, out: Path) -> None:
    """Puts an encoder of random weights where the stage finds it."""
    weights = Initial(seed)
    Encoder(weights, MimiConfig.load(Path(given[1])))
    save(out / "encoder.safetensors", weights.tensors)


def train(given: list[str], out: Path) -> dict[str, Tensor]:
    decoder.main([*given, str(out), "--steps", "5", "--batch", "2"])
    return load_file(out / "mimi.safetensors")


def test_a_run_that_was_killed_and_started_again_ends_like_one_that_was_not(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("whole", "killed"):
        encode_with(given, 0, tmp_path / name)
    whole = train(given, tmp_path / "whole")
    kill_at(3, lambda: train(given, tmp_path / "killed"), decoder, "batch", monkeypatch)
    assert torch.load(tmp_path / "killed/decoder.pt", weights_only=True)["step"] == 2
    assert same_weights(whole, train(given, tmp_path / "killed"))


def test_a_decoder_of_another_encoders_codes_does_not_go_on(given: list[str], tmp_path: Path) -> None:
    encode_with(given, 0, tmp_path)
    train(given, tmp_path)
    encode_with(given, 1, tmp_path)
    with pytest.raises(AntiphonError, match=r"decoder\.pt decodes another encoder's codes: delete it"):
        train(given, tmp_path)


def test_a_run_from_a_packed_model_begins_with_its_decoder(given: list[str], golden: Path, tmp_path: Path) -> None:
    encode_with(given, 0, tmp_path)
    start = golden / "mimi-tiny"
    options = ["--steps", "1", "--batch", "1", "--learning-rate", "0", "--start", str(start)]
    decoder.main([*given, str(tmp_path), *options])
    made, packed = load_file(tmp_path / "mimi.safetensors"), load_file(start / "mimi.safetensors")
    weights = [name for name in made if name.startswith("decoder") and name.endswith("weight")]
    assert weights
    assert all(torch.equal(made[name], packed[name].float()) for name in weights)
