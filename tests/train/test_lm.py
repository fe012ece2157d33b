import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from antiphon.errors import AntiphonError
from tests.support.killed import kill_at, same_weights
from tools.clerk.train import lm
from tools.clerk.train.data.conversations import SLOTS
from tools.clerk.train.layout import save
from tools.clerk.train.stage import fingerprint

BOOKS, CARD, FRAMES = 2, 16, 48
CONFIG = {
    "dim": 8,
    "num_heads": 2,
    "num_layers": 1,
    "context": 50,
    "n_q": 2 * BOOKS,
    "dep_q": BOOKS,
    "card": CARD,
    "text_card": 17,
    "delays": [0, 0, 1, 0, 1],
    "depformer_dim": 8,
    "depformer_num_heads": 2,
    "depformer_num_layers": 1,
    "depformer_dim_feedforward": 24,
}


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint every two steps."""
    monkeypatch.setattr(lm, "CHECKPOINT_STEPS", 2)


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """The stage's first three arguments: dialogues, config and codec, of a few numbers each."""
    rng = np.random.default_rng(0)
    tables = ("rvq_first.vq.layers.0", "rvq_rest.vq.layers.0")
    codec = {f"quantizer.{table}._codebook.embedding_sum": torch.randn(CARD, 4) for table in tables}
    save(tmp_path / "codec/encoder.safetensors", codec)
    made_with = fingerprint(tmp_path / "codec/encoder.safetensors")
    for folder in (tmp_path / "dialogues", tmp_path / "dialogues/held-out"):
        folder.mkdir()
        tokens = rng.integers(CARD, size=(6, 1 + 2 * BOOKS, FRAMES)).astype(np.int16)
        heard = rng.integers(11, size=(6, FRAMES, SLOTS)).astype(np.int8)
        np.savez(folder / "0000.npz", tokens=tokens, heard=heard, codec=np.array(made_with))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return [str(tmp_path / name) for name in ("dialogues", "config.json", "codec")]


def train(given: list[str], out: Path, *options: str) -> dict[str, Tensor]:
    lm.main([*given, str(out), "--steps", "5", "--batch", "2", *options])
    return load_file(out / "model.safetensors")


def test_a_run_that_was_killed_and_started_again_ends_like_one_that_was_not(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(given, tmp_path / "whole")
    kill_at(3, lambda: train(given, tmp_path / "killed"), lm, "losses", monkeypatch)
    assert torch.load(tmp_path / "killed/lm.pt", weights_only=True)["step"] == 2
    assert same_weights(whole, train(given, tmp_path / "killed"))


def test_another_seed_gives_another_model(given: list[str], tmp_path: Path) -> None:
    one, other = train(given, tmp_path / "one"), train(given, tmp_path / "other", "--seed", "1")
    assert not torch.equal(one["text_linear.weight"], other["text_linear.weight"])


def test_a_start_beside_a_checkpoint_that_did_not_start_there_is_refused(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(given, tmp_path / "first")
    start = str(tmp_path / "first/model.safetensors")
    with pytest.raises(SystemExit) as ended:
        train(given, tmp_path / "first", "--start", start)
    assert ended.value.code == 2
    assert "lm.pt started from nothing" in capsys.readouterr().err
    train(given, tmp_path / "second", "--start", start)
    train(given, tmp_path / "second", "--start", start)


def test_conversations_of_another_codec_are_refused(given: list[str], tmp_path: Path) -> None:
    save(tmp_path / "codec/encoder.safetensors", {"other": torch.zeros(1)})
    with pytest.raises(AntiphonError, match=r"0000\.npz was made with another codec"):
        train(given, tmp_path / "out")


def test_a_start_that_is_no_model_is_refused(given: list[str], tmp_path: Path) -> None:
    with pytest.raises(AntiphonError, match=r"encoder\.safetensors is no model of"):
        train(given, tmp_path / "out", "--start", str(tmp_path / "codec/encoder.safetensors"))
    with pytest.raises(AntiphonError, match=r"nowhere: cannot be read"):
        train(given, tmp_path / "other", "--start", str(tmp_path / "nowhere"))


def test_the_end_of_a_run_is_tested_on_all_held_out_conversations(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm, "PIECE", 4)
    train(given, tmp_path / "out")
    last = json.loads((tmp_path / "out/lm.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 5
    assert last["test_text"] > 0
    made_with = fingerprint(tmp_path / "codec/encoder.safetensors")
    pieces = lm.Conversations(tmp_path / "dialogues/held-out", made_with).pieces()
    assert [len(tokens) for tokens, _ in pieces] == [4, 2]
