"""The quick starts and the certificates' five commands, run as the pages show them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import COMMAND_TIMEOUT_S, environment, worker
from tests.support.ports import unused_address
from tools import ROOT
from tools.demo.__main__ import PERSON
from tools.harness.worker_process import BIN, Worker

QUICKSTART = (ROOT / "docs/quickstart.md").read_text()
CERTIFICATES = (ROOT / "docs/certificates.md").read_text()
EXAMPLE = "worker.example"
HERE = "localhost:50051"
SAID = "you said three seven one"


def commands(text: str) -> list[str]:
    """The lines of the indented blocks, without comments."""
    return [line.partition("  #")[0].strip() for line in re.findall(r"^    (\S.*)$", text, re.MULTILINE)]


def section(title: str) -> str:
    return QUICKSTART.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def is_set_up(line: str) -> bool:
    return line.startswith(("python3 -m venv", "pip install"))


@pytest.fixture(scope="module")
def served() -> Iterator[Worker]:
    with worker() as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader sits, with a question to ask."""
    shutil.copy(PERSON, tmp_path / "question.wav")  # its content says what it is, not its name
    return tmp_path


def run(lines: list[str], folder: Path) -> str:
    """Runs lines as a shell would that stops at the first failure, and returns what they print.

    A worker in the background has come up before the next line runs.
    """
    script = ["set -eu -o pipefail"]
    for line in lines:
        if line.endswith("&"):
            script += [f"{line.removesuffix('&')} > serving & serving=$!", "trap 'kill $serving; wait $serving' EXIT"]
            script += [
                "for try in $(seq 2000); do grep -q listening serving && break; kill -0 $serving; sleep 0.1; done"
            ]
        elif line == "kill %1":
            script += ["kill $serving", "wait $serving", "trap - EXIT"]
        else:
            script.append(line)
    variables = environment() | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "ANTIPHON_CACHE": str(folder / "cache"),
    }
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder, env=variables, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_installed_is_what_there_is() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    lines = [line for line in commands(QUICKSTART) if line.startswith("pip install") and "torch" not in line]
    installed = [line.split()[2:] for line in lines]
    assert installed == [["'.[audio]'"], ["."], [".", "./cloud", "./clerk"]]
    assert "audio" in extras
    assert all((ROOT / folder / "pyproject.toml").is_file() for folder in installed[-1])


def test_a_device(served: Worker, folder: Path) -> None:
    *set_up, by_file, by_voice = commands(section("A device"))
    assert all(map(is_set_up, set_up))
    assert by_file.startswith(by_voice)  # what a machine without a microphone can show of it
    said = run([by_file.replace(HERE, served.address)], folder)
    assert SAID in " ".join(said.split())
    assert (folder / "reply.wav").stat().st_size > 100_000


def test_a_program(
    served: Worker, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert all(map(is_set_up, commands(section("A program").partition("```")[0])))
    (snippet,) = re.findall(r"```python\n(.*?)```", section("A program"), re.DOTALL)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ANTIPHON_CACHE", str(folder / "cache"))
    exec(compile(snippet.replace(HERE, served.address), "docs/quickstart.md", "exec"), {})
    assert SAID in " ".join(capsys.readouterr().out.split())


def test_an_operator(folder: Path) -> None:
    lines = [line for line in commands(section("An operator")) if not is_set_up(line)]
    address, metrics = unused_address(), unused_address()
    told = [line.replace(HERE, address).replace("127.0.0.1:9464", metrics) for line in lines]
    assert SAID in " ".join(run(told, folder).split())
    assert (folder / "kitchen.key").stat().st_mode & 0o077 == 0


def test_five_commands_make_certificates_and_use_them(folder: Path) -> None:
    lines = commands(CERTIFICATES)
    assert len(lines) == 5
    port = unused_address().rpartition(":")[2]
    told = [line.replace(":50051", f":{port}").replace(EXAMPLE, "localhost") for line in lines]
    assert SAID in " ".join(run(told, folder).split())
