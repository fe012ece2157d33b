"""`pip install .` is all that an edge needs: no torch, no model, nothing of the worker; it encodes and decodes."""

import re
import subprocess
import sys
import venv
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile

from tools import ROOT

FORBIDDEN = {
    "aiohttp",
    "antiphon-cloud",
    "antiphon-number-clerk",
    "onnx",
    "onnxscript",
    "safetensors",
    "sentencepiece",
    "torch",
}
MOST_MB = 190  # on disk, without bytecode


def run(*command: str | Path, cwd: Path) -> str:
    result = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.timeout(600)
def test_an_edge_only_environment_encodes_and_decodes(
    tmp_path: Path, tiny_codec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin/python")
    run(*pip, "install", "--quiet", "--no-compile", ROOT, cwd=tmp_path)

    listed = run(*pip, "list", "--format=freeze", cwd=tmp_path)
    installed = {re.split("[=@ ]", line)[0].lower() for line in listed.splitlines()}
    assert "onnxruntime" in installed
    assert not installed & FORBIDDEN
    (packages,) = environment.glob("lib/*/site-packages")
    assert {path.name for path in packages.glob("antiphon*") if path.suffix != ".dist-info"} == {
        "antiphon",
        "antiphon_edge",
    }
    for package in ("antiphon", "antiphon_edge"):
        assert (packages / package / "py.typed").is_file()
    size_mb = int(run("du", "--summarize", "--block-size=1", packages, cwd=tmp_path).split()[0]) / 1e6
    assert size_mb <= MOST_MB

    soundfile.write(tmp_path / "in.wav", 0.1 * np.sin(np.arange(44_100) * 0.05), 44_100)
    edge = environment / "bin/antiphon-edge"
    run(edge, "encode", "--codec", tiny_codec, "in.wav", "codes.npy", cwd=tmp_path)
    assert np.load(tmp_path / "codes.npy").shape == (13, 8)
    run(edge, "decode", "--codec", tiny_codec, "codes.npy", "out.wav", cwd=tmp_path)
    assert soundfile.info(tmp_path / "out.wav").frames == 13 * 1920
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    with capsys.disabled():
        click.echo(f"\nedge-only install: {size_mb:.0f} MB in {len(installed)} packages (Python {python})")
