"""Adapters by name: which there are, and which have come and gone."""

from pathlib import Path

import pytest
import torch

from antiphon.errors import PreconditionError
from antiphon_cloud.checkpoint.adapter_files import AdapterFiles, AdapterPaths
from antiphon_cloud.errors import ConfigError
from tests.support.adapters import adapter_tensors, save_adapter
from tests.support.language_models import MICRO

TENSORS = adapter_tensors(MICRO, 2)


def files(folder: Path, *names: str) -> AdapterFiles:
    for name in names:
        save_adapter(folder / "adapters" / name, TENSORS)
    found = AdapterFiles.given(folder, None, [])
    assert found is not None
    return found


def test_a_model_directorys_adapters_are_files_and_folders(tmp_path: Path) -> None:
    found = files(tmp_path, "b.safetensors", "a/lora.safetensors", "c/other.safetensors", ".hidden.safetensors")
    assert found.names() == ["a", "b"]
    assert found.find("a") == AdapterPaths(
        tmp_path / "adapters/a/lora.safetensors", tmp_path / "adapters/a/config.json"
    )
    assert found.find("b").settings == tmp_path / "adapters/b.json"


def test_one_that_comes_later_is_found_and_one_that_goes_is_not(tmp_path: Path) -> None:
    found = files(tmp_path, "a.safetensors")
    save_adapter(tmp_path / "adapters/late.safetensors", TENSORS)
    (tmp_path / "adapters/a.safetensors").unlink()
    assert found.names() == ["late"]


def test_options_come_before_the_models_own(tmp_path: Path) -> None:
    files(tmp_path, "a.safetensors", "b.safetensors")
    save_adapter(tmp_path / "more/a.safetensors", TENSORS)
    named = save_adapter(tmp_path / "elsewhere.safetensors", TENSORS)
    found = AdapterFiles.given(tmp_path, tmp_path / "more", [f"b={named}"])
    assert found is not None
    assert found.find("a").weights == tmp_path / "more/a.safetensors"
    assert found.find("b").weights == named


def test_without_options_and_without_a_folder_there_are_none(tmp_path: Path) -> None:
    assert AdapterFiles.given(tmp_path, None, []) is None


@pytest.mark.parametrize("name", ["x", "", "../a", "a/../a", "/etc/passwd", "a.safetensors", "..", "a\n"])
def test_another_name_is_refused_with_some_that_are_there(name: str, tmp_path: Path) -> None:
    found = files(tmp_path, *(f"{each}.safetensors" for each in "abcdefghijk"))
    with pytest.raises(PreconditionError, match=r"no adapter .* is here; there are a, b, c, d, e, f, g, h and 3 more"):
        found.find(name)


def test_a_long_name_is_shortened(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError) as raised:
        files(tmp_path, "a.safetensors").find("x" * 10_000)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ("folder", "named", "told"),
    [
        ("gone", [], "--adapters-dir .*gone: no such directory"),
        (None, ["a"], "expected NAME=PATH"),
        (None, ["../a=x"], "expected NAME=PATH"),
        (None, ["a=nowhere"], "no such file, nor a folder with a lora.safetensors"),
    ],
)
def test_an_option_that_means_nothing_is_named(folder: str | None, named: list[str], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        AdapterFiles.given(tmp_path, None if folder is None else tmp_path / folder, named)


def test_a_change_of_either_file_is_noticed(tmp_path: Path) -> None:
    paths = files(tmp_path, "a.safetensors").find("a")
    states = [paths.state]
    paths.settings.write_text('{"lora_scaling": 1}')
    states.append(paths.state)
    save_adapter(paths.weights, {name: torch.cat((value, value)) for name, value in TENSORS.items()})
    states.append(paths.state)
    paths.weights.unlink()
    states.append(paths.state)
    assert len(set(states)) == 4
