"""A codec's folder is checked once, before anybody is given its files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from antiphon_cloud.codec_folder import CodecFolder
from antiphon_cloud.errors import CheckpointError


def test_a_whole_codec_is_its_files_and_what_they_speak(tiny_codec: Path) -> None:
    found = CodecFolder.open(tiny_codec)
    assert [file.path.name for file in found.files] == ["codec.json", "encoder.onnx", "decoder.onnx"]
    assert found.spec.codebooks == 8


def newer(folder: Path) -> None:
    """A manifest of tomorrow: another format, whose keys this version does not know."""
    (folder / "codec.json").write_text(json.dumps({"format": 2, "halves": []}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "codec.json").unlink(), r"codec\.json: cannot be read .*run antiphon-cloud export-codec"),
        (lambda f: (f / "codec.json").write_text("{"), r"codec\.json: not a codec manifest"),
        (lambda f: (f / "codec.json").write_text('{"format": 1}'), r"codec\.json: not a codec manifest .*fingerprint"),
        (newer, r"codec\.json: made by a newer version \(format 2, this one reads 1\)"),
        (lambda f: (f / "decoder.onnx").unlink(), r"decoder\.onnx: cannot be read"),
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
