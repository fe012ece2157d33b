"""A codec's folder is checked once, before anybody is given its files."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from antiphon_cloud.codec.folder import CodecFolder
from antiphon_cloud.errors import CheckpointError


def test_a_whole_codec_is_its_files_and_what_they_speak(tiny_codec: Path) -> None:
    found = CodecFolder.open(tiny_codec)
    assert [file.path.name for file in found.files] == ["codec.json", "encoder.onnx", "decoder.onnx"]
    assert found.spec.codebooks == 8


def newer(folder: Path) -> None:
    """A manifest of tomorrow: another format, whose keys this version does not know."""
    (folder / "codec.json").write_text(json.dumps({"format": 3, "halves": []}))


def rename(folder: Path, encoder: str) -> None:
    manifest = json.loads((folder / "codec.json").read_text())
    manifest["encoder"]["file"] = encoder
    (folder / "codec.json").write_text(json.dumps(manifest))


def pipe_at(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def test_what_was_opened_is_read_whatever_takes_its_place(tiny_codec: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_codec, tmp_path / "codec")
    found = CodecFolder.open(tmp_path / "codec")
    for file in found.files:  # as an export does it: each file in one step
        (tmp_path / "another").write_bytes(b"another export")
        (tmp_path / "another").replace(file.path)
    for file in found.files:
        with file.open() as one, file.open() as other:
            first = one.read(5)
            data = other.read(file.size_bytes)
            assert first + one.read(file.size_bytes) == data
            assert one.read(1) == b""
        assert hashlib.sha256(data).digest() == file.sha256


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "codec.json").unlink(), r"codec\.json: cannot be read .*run antiphon-cloud export-codec"),
        (lambda f: (f / "codec.json").write_text("{"), r"codec\.json: not a codec manifest"),
        (lambda f: (f / "codec.json").write_text('{"format": 1}'), r"codec\.json: not a codec manifest .*fingerprint"),
        (newer, r"codec\.json: made by a newer version \(format 3, this one reads 2\)"),
        (lambda f: (f / "decoder.onnx").unlink(), r"decoder\.onnx: cannot be read"),
        (lambda f: rename(f, "../encoder.onnx"), r"codec\.json: not a codec manifest .*leads out of the folder"),
        (lambda f: rename(f, "/etc/passwd"), r"codec\.json: not a codec manifest .*leads out of the folder"),
        (lambda f: pipe_at(f / "codec.json"), r"codec\.json: cannot be read \(it is no regular file\)"),
        (lambda f: pipe_at(f / "encoder.onnx"), r"encoder\.onnx: cannot be read \(it is no regular file\)"),
        (lambda f: (f / "encoder.onnx").write_bytes(b"short"), r"encoder\.onnx: not the file that codec\.json"),
    ],
)
def test_a_damaged_codec_is_one_clear_sentence(
    tiny_codec: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    folder = tmp_path / "codec"
    shutil.copytree(tiny_codec, folder)
    damage(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        CodecFolder.open(folder)
    assert "\n" not in str(caught.value)
