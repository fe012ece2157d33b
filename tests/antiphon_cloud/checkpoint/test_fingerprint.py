"""Which workers may go on with each other's sessions."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from antiphon.errors import PreconditionError
from antiphon_cloud.checkpoint import fingerprint as module
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.fingerprint import KEPT_FILE, model_fingerprint
from antiphon_cloud.runner.runner import ModelRunner
from antiphon_edge import Reconnect, connect
from tests.support.language_models import GOLDEN, copy_model
from tests.support.servers import CODEC, StubOptions, stub_server
from tools.harness.relay import relay
from tools.harness.stub_runner import StubRunner

CASE = "moshi-tiny"
WEIGHTS = "model.safetensors"


def of(root: Path, int8: bool = False) -> bytes:
    return model_fingerprint(ModelDirectory.open(root), int8)


def edit(root: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(root / WEIGHTS)
    change(tensors)
    save_file(tensors, root / WEIGHTS)


def configure(root: Path, **changes: object) -> None:
    path = root / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def train(root: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["text_linear.weight"] *= 1.01

    edit(root, change)


def swap(root: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["emb.0.weight"], tensors["emb.1.weight"] = tensors["emb.1.weight"], tensors["emb.0.weight"]

    edit(root, change)


def add_adapter(root: Path) -> None:
    save_file({"text_linear.lora_A.weight": torch.ones(2, 64), "text_linear.lora_B.weight": torch.ones(256, 2)},
              root / "lora.safetensors")  # fmt: skip
    configure(root, lora=True, lora_rank=2)


def other_pieces(root: Path) -> None:
    path = root / "tokenizer_spm_tiny.model"
    path.write_bytes(path.read_bytes() + b"\0")


def rename(root: Path) -> None:
    (root / WEIGHTS).rename(root / "weights.safetensors")
    configure(root, moshi_name="weights.safetensors", lm_gen_config={"temp": 0.5})


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (train, False), (swap, False), (add_adapter, False), (other_pieces, False),
        (lambda root: configure(root, delays=[0, 0] + [0] * 15), False),
        (lambda root: configure(root, context=41), False),
        (lambda root: configure(root, model_type="hibiki"), False),
        (lambda root: None, True), (rename, True),
        (lambda root: edit(root, lambda tensors: None), True),
    ],
    ids=["trained", "tensors swapped", "adapter", "tokenizer", "delays", "context", "early end", "copied",
         "other file names and sampling", "saved again"],
)  # fmt: skip
def test_what_decides_tokens_decides_the_fingerprint(
    change: Callable[[Path], None], same: bool, tmp_path: Path
) -> None:
    root = copy_model(CASE, tmp_path / "model")
    change(root)
    assert (of(root) == of(GOLDEN / CASE)) is same


def test_matrices_in_int8_are_another_models_and_activations_are_not() -> None:
    assert of(GOLDEN / CASE) != of(GOLDEN / CASE, int8=True)
    loaded = [
        ModelRunner.load(ModelDirectory.open(GOLDEN / CASE), 1, dtype, "cpu", quantize=quantize).spec.fingerprint
        for dtype, quantize in ((torch.float32, None), (torch.bfloat16, None), (torch.bfloat16, "int8"))
    ]
    assert loaded == [of(GOLDEN / CASE), of(GOLDEN / CASE), of(GOLDEN / CASE, int8=True)]


def test_a_setting_that_is_written_out_is_the_one_that_is_left_out(tmp_path: Path) -> None:
    root = copy_model(CASE, tmp_path / "model", max_period=10_000.0, norm="rms_norm_f32", kv_repeat=1)
    assert of(root) == of(GOLDEN / CASE)


async def test_a_session_does_not_go_on_with_other_weights_of_the_same_name(tmp_path: Path) -> None:
    roots = [copy_model(CASE, tmp_path / worker / "model") for worker in ("one", "two")]
    train(roots[1])
    one, two = (ModelRunner.load(ModelDirectory.open(root), 1, torch.float32, "cpu").spec for root in roots)
    assert (one.name, two.name) == ("model", "model")
    frame = np.zeros(8, np.int32)
    async with stub_server(StubOptions(runner=StubRunner(spec=two))) as second:
        async with stub_server(StubOptions(runner=StubRunner(spec=one))) as first, relay(first.address) as between:
            context = connect(between.address, CODEC, reconnect=Reconnect(first_s=0.01, patience_s=20.0))
            session = await context.__aenter__()
            await session.send(frame)
            assert await session.receive() is not None
            between.target = second.address
            between.cut()
            wanted = (
                rf"held with model \({one.fingerprint.hex()[:8]}\), .* serves model \({two.fingerprint.hex()[:8]}\)"
            )
            await session.send(frame)
            with pytest.raises(PreconditionError, match=wanted):
                await session.receive()
            await context.__aexit__(None, None, None)
        assert not second.runner.batches


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Keeps fingerprints of small models too; counts how often weights are sampled."""
    counted: list[int] = []
    sampled = module.sampled

    def count(groups: object) -> bytes:
        counted.append(1)
        return sampled(groups)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "KEPT_FROM_BYTES", 0)
    monkeypatch.setattr(module, "sampled", count)
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))
    return counted


def test_it_is_taken_once_and_kept_beside_the_model(kept: list[int], tmp_path: Path) -> None:
    root = copy_model(CASE, tmp_path / "model")
    assert of(root) == of(root) != of(root, int8=True)
    assert len(kept) == 1
    assert (root / KEPT_FILE).is_file()
    assert not (tmp_path / "cache").exists()


def test_files_that_are_replaced_are_noticed(kept: list[int], tmp_path: Path) -> None:
    root = copy_model(CASE, tmp_path / "model")
    path, before = root / WEIGHTS, of(root)
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    (tmp_path / "other").write_bytes(data)
    os.utime(tmp_path / "other", ns=(times.st_atime_ns, times.st_mtime_ns))  # of the same size and time
    (tmp_path / "other").replace(path)
    assert of(root) != before
    assert len(kept) == 2


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format":1,"files":[],"digest":"zz"}', b"\xff"])
def test_what_was_kept_and_is_damaged_is_taken_again(content: bytes, kept: list[int], tmp_path: Path) -> None:
    root = copy_model(CASE, tmp_path / "model")
    (root / KEPT_FILE).write_bytes(content)
    assert of(root) == of(root)
    assert len(kept) == 1


def test_beside_a_model_that_cannot_be_written_to_it_is_kept_in_the_cache(
    kept: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copy_model(CASE, tmp_path / "model")
    keep = module._keep
    monkeypatch.setattr(module, "_keep", lambda path, found: path.parent != root and keep(path, found))
    before = of(root)
    assert of(root) == before
    assert len(kept) == 1
    assert len(list((tmp_path / "cache").iterdir())) == 1
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").touch()  # no folder: nothing can be kept, and the fingerprint is there all the same
    assert of(root) == before
    assert len(kept) == 2


def test_a_small_model_keeps_nothing(tmp_path: Path) -> None:
    root = copy_model(CASE, tmp_path / "model")
    of(root)
    assert not (root / KEPT_FILE).exists()
