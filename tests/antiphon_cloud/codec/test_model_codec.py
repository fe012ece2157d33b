"""Where a served model's codec comes from."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.codec import model_codec
from antiphon_cloud.codec.model_codec import find_codec
from antiphon_cloud.errors import CheckpointError


@pytest.fixture
def directory(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelDirectory:
    """A model without an exported codec, and an exporter that writes no more than the manifest."""

    def export(checkpoint: Path, config: Path | None, out: Path, **how: Any) -> None:
        out.mkdir(exist_ok=True)
        (out / "codec.json").write_text("{}")

    monkeypatch.setattr(model_codec, "export_codec", export)
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))
    shutil.copytree(golden / "moshi-tiny", tmp_path / "model")
    return ModelDirectory.open(tmp_path / "model")


def make_read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a mount is, for root too."""
    monkeypatch.setattr(os, "access", lambda path, mode: folder not in (Path(path), *Path(path).parents))


def test_a_codec_is_exported_once_into_the_model_directory(
    directory: ModelDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    assert [find_codec(directory), find_codec(directory)] == [directory.codec] * 2
    assert (directory.codec / "codec.json").exists()
    assert len(caplog.records) == 1


def test_a_directory_that_cannot_be_written_has_its_codec_in_the_cache(
    directory: ModelDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_read_only(directory.root, monkeypatch)
    first = find_codec(directory)
    assert first.parent == tmp_path / "cache/exported"
    assert [find_codec(directory), len(caplog.records)] == [first, 1]
    assert not directory.codec.exists()
    (directory.root / "mimi_config.json").write_text(
        (directory.root / "mimi_config.json").read_text().replace('"context": 20', '"context": 21')
    )
    assert find_codec(directory) != first  # another codec


def test_where_nothing_can_be_written_the_error_says_how_to_go_on(
    directory: ModelDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_read_only(tmp_path, monkeypatch)
    words = rf"model holds no exported codec .*run antiphon-cloud export-codec --model {directory.root} --out DIR"
    with pytest.raises(CheckpointError, match=words):
        find_codec(directory)
