"""`pip install .[edge]` is all that an edge needs: no torch, no sentencepiece, no onnx, and it encodes and decodes."""

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

FORBIDDEN = {"torch", "sentencepiece", "onnx", "onnxscript", "safetensors"}


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
    before = size_mb(environment)
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin/python")
    run(*pip, "install", "--quiet", "--no-compile", f"{ROOT}[edge]", cwd=tmp_path)

    listed = run(*pip, "list", "--format=freeze", cwd=tmp_path)
    installed = {re.split("[=@ ]", line)[0].lower() for line in listed.splitlines()}
    assert "onnxruntime" in installed
    assert not installed & FORBIDDEN
    (packages,) = environment.glob("lib/*/site-packages")
    for shipped in ("models/number-clerk/model.q8.safetensors", "backends/cpu/csrc/step.cpp", "py.typed"):
        assert (packages / "antiphon_cloud" / shipped).is_file()

    soundfile.write(tmp_path / "in.wav", 0.1 * np.sin(np.arange(44_100) * 0.05), 44_100)
    edge = environment / "bin/antiphon-edge"
    run(edge, "encode", "--codec", tiny_codec, "in.wav", "codes.npy", cwd=tmp_path)
    assert np.load(tmp_path / "codes.npy").shape == (13, 8)
    run(edge, "decode", "--codec", tiny_codec, "codes.npy", "out.wav", cwd=tmp_path)
    assert soundfile.info(tmp_path / "out.wav").frames == 13 * 1920
    with capsys.disabled():
        click.echo(
            f"\nedge-only install: {size_mb(environment) - before:.0f} MB in {len(installed)} packages "
            f"(Python {sys.version_info.major}.{sys.version_info.minor})"
        )


def size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
