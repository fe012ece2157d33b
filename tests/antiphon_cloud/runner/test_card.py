"""A card that cannot run a model, and one that stops: each is told in a sentence, with what to do."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from antiphon.spec import GREEDY
from antiphon_cloud.errors import ConfigError, DeviceLostError
from antiphon_cloud.runner import card
from antiphon_cloud.runner.card import Found, Holder, what_is_wrong
from antiphon_cloud.runner.device import step_dtype
from tests.support.language_models import micro_runner

CUDA = torch.device("cuda")
H100 = Found(torch_cuda=(13, 0), driver_cuda=(13, 0), name="NVIDIA H100", capability=(9, 0), triton_cuda=(13, 4))
ILLEGAL = "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be reported elsewhere."


def test_a_card_that_can_run_a_model_has_nothing_wrong() -> None:
    assert what_is_wrong(H100) is None
    assert what_is_wrong(replace(H100, driver_cuda=(12, 2), torch_cuda=(12, 8), triton_cuda=(12, 9))) is None


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (replace(H100, torch_cuda=None), "built without CUDA; install a build with it, or use --device cpu"),
        (replace(H100, driver_cuda=None), "no NVIDIA driver is installed here; install one, or use --device cpu"),
        (replace(H100, driver_cuda=(12, 4)), r"knows CUDA 12\.4, and this PyTorch .* needs 13\.0; update the driver"),
        (replace(H100, name=None), "finds no NVIDIA GPU here; see CUDA_VISIBLE_DEVICES and nvidia-smi"),
        (replace(H100, name=None, reason="fabric manager"), r"finds no NVIDIA GPU here \(fabric manager\); see"),
        (replace(H100, name="Tesla T4", capability=(7, 5)), r"Tesla T4 has compute capability 7\.5, .* need 8\.0; use"),
        (
            replace(H100, launcher_error="Failed to find C compiler"),
            r"Triton cannot build what launches its kernels \(Failed to find C compiler\): install a C compiler and",
        ),
        (replace(H100, triton_cuda=None), "Triton is not installed, or not whole: pip install"),
        (
            replace(H100, driver_cuda=(12, 8), torch_cuda=(12, 8)),
            r"knows CUDA 12\.8, and what Triton makes for NVIDIA H100 needs 13\.4; update the driver",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence_with_what_to_do(found: Found, told: str) -> None:
    wrong = what_is_wrong(found)
    assert wrong is not None
    assert re.search(told, wrong)
    assert "\n" not in wrong


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with a card that steps can run on, of which a test changes what it wants."""
    monkeypatch.setattr(card, "torch_cuda", lambda: (12, 8))
    monkeypatch.setattr(card, "driver_cuda", lambda: (13, 0))
    monkeypatch.setattr(card, "triton_cuda", lambda capability: (12, 9) if capability < (9, 0) else (13, 4))
    monkeypatch.setattr(card, "launcher_error", lambda: "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 6))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "NVIDIA A10G")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda *_: SimpleNamespace(uuid="c0ffee"))
    return monkeypatch


def test_a_device_is_refused_before_anything_is_loaded(machine: pytest.MonkeyPatch) -> None:
    assert step_dtype("cuda", None) == torch.bfloat16
    machine.setattr(torch.cuda, "get_device_capability", lambda *_: (7, 0))
    with pytest.raises(ConfigError, match=r"^--device cuda: NVIDIA A10G has compute capability 7\.0"):
        step_dtype("cuda", None)


def test_float32_is_for_a_cpu(machine: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"^--dtype float32: a GPU steps in bfloat16, or in float16"):
        step_dtype("cuda", "float32")
    assert step_dtype("cpu", "float32") == torch.float32


def test_why_torch_finds_no_card_is_told_and_not_warned_of(machine: pytest.MonkeyPatch) -> None:
    def refuses() -> bool:
        import warnings

        warnings.warn("CUDA initialization: system not yet initialized.\nMore.", stacklevel=1)
        return False

    machine.setattr(torch.cuda, "is_available", refuses)
    with pytest.raises(ConfigError, match=r"GPU here \(CUDA initialization: system not yet initialized\); see"):
        card.require_card()


def test_the_assembler_that_triton_takes_for_each_card_is_known() -> None:
    pytest.importorskip("triton")
    for capability in ((8, 0), (9, 0)):
        version = card.triton_cuda(capability)
        assert version is not None
        assert version >= (12, 0)


def test_the_driver_says_which_cuda_it_knows_without_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    assert card.driver_cuda("no-such-library.so") is None
    assert card.driver_cuda("libc.so.6") is None  # a library, but no driver

    def version(place: Any) -> int:
        place._obj.value = 12040
        return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(cuDriverGetVersion=version))
    assert card.driver_cuda() == (12, 4)


def listing(machine: pytest.MonkeyPatch, folder: Path, *lines: str) -> None:
    """An nvidia-smi that lists these processes."""
    program = folder / "nvidia-smi"
    program.write_text('#!/bin/sh\ncase "$1" in --id=GPU-c0ffee) cat <<END\n' + "\n".join(lines) + "\nEND\n;; esac\n")
    program.chmod(0o755)
    machine.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_who_holds_the_cards_memory_is_told_the_largest_first(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listing(
        machine, tmp_path, "41, 1000, /bin/a", "42, 57220, /usr/bin/python3", f"{os.getpid()}, 500, me", "43, [N/A], b"
    )
    found = card.holders(CUDA)
    assert [(each.name, each.pid) for each in found] == [("python3", 42), ("a", 41), ("b", 43)]
    assert str(found[0]) == "python3 (process 42, 60.0 GB)"
    assert str(found[2]) == "b (process 43)"


def test_without_nvidia_smi_nobody_is_known_to_hold_it(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine.setenv("PATH", str(tmp_path))
    assert card.holders(CUDA) == []


def test_a_card_that_cannot_be_opened_names_who_holds_it(machine: pytest.MonkeyPatch) -> None:
    def full(device: object) -> tuple[int, int]:
        raise torch.AcceleratorError("CUDA error: out of memory\nCompile with ...")

    machine.setattr(torch.cuda, "mem_get_info", full)
    machine.setattr(card, "holders", lambda device: [Holder("python3", 42, 79 * 10**9)])
    with pytest.raises(
        ConfigError, match=r"^NVIDIA A10G cannot be used \(CUDA error: out of memory\): python3 .*; end"
    ):
        card.memory(CUDA)


def fails(*_: object, **__: object) -> None:
    raise torch.AcceleratorError(ILLEGAL)


def test_an_error_after_which_the_card_does_nothing_more_is_told_apart(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(torch.cuda, "synchronize", lambda *_: None)
    with pytest.raises(torch.AcceleratorError), card.faults(CUDA):  # the card still answers: it was this launch alone
        fails()
    machine.setattr(torch.cuda, "synchronize", fails)
    with pytest.raises(DeviceLostError) as lost, card.faults(CUDA):
        fails()
    assert str(lost.value) == (
        "a computation on NVIDIA A10G failed, after which nothing on it goes on "
        "(CUDA error: an illegal memory access was encountered)"
    )
    with pytest.raises(RuntimeError, match="Triton"), card.faults(torch.device("cpu")):
        raise RuntimeError("Triton Error")


@pytest.mark.parametrize("asked", ["step", "reset", "prefill"])
def test_whatever_a_runner_is_asked_for_tells_that_its_card_is_lost(asked: str, machine: pytest.MonkeyPatch) -> None:
    runner = micro_runner(1)
    user = torch.zeros(1, runner.spec.user_codebooks, dtype=torch.int32).numpy()
    streams = torch.zeros(runner.config.streams, 2, dtype=torch.int32).numpy()
    runner._device = CUDA
    machine.setattr(torch.cuda, "synchronize", fails)
    machine.setattr(runner, "_run", fails)
    machine.setattr(type(runner.state), "clear", fails)
    machine.setattr("antiphon_cloud.runner.runner.prefill", fails)
    ask: dict[str, Callable[[], object]] = {
        "step": lambda: runner.step([0], user),
        "reset": lambda: runner.reset(0, 0, GREEDY),
        "prefill": lambda: runner.prefill(0, streams, range(2), 0),
    }
    machine.setattr(torch, "tensor", lambda *_, **__: torch.zeros(2))  # there is no CUDA to put it on
    machine.setattr(torch.Tensor, "to", lambda tensor, *_: tensor)
    with pytest.raises(DeviceLostError, match="illegal memory access"):
        ask[asked]()


def test_memory_that_runs_out_amid_the_loading_is_one_sentence(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(card, "holders", lambda device: [])
    machine.setattr(torch.cuda, "synchronize", lambda *_: None)
    with (
        pytest.raises(ConfigError, match=r"^NVIDIA A10G ran out of memory while .*; take fewer slots, or --kv-cache"),
        card.room(CUDA),
        card.faults(CUDA),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
