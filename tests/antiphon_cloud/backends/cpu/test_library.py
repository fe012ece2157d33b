"""Compiling the CPU step: once a machine, and never in the way."""

import ctypes
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from antiphon_cloud.backends.cpu import library as module
from antiphon_cloud.backends.cpu.library import BuildError, build, find_compiler, library, load
from antiphon_cloud.backends.fbgemm import PackedLinear
from antiphon_cloud.backends.int8 import Int8Linear, quantize_rows
from antiphon_cloud.backends.select import select
from tests.support.native import needs_library

pytestmark = needs_library


@pytest.fixture
def fresh() -> Iterator[None]:
    """Lets a test ask for the library anew."""
    library.cache_clear()
    yield
    library.cache_clear()


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_second_process_finds_the_library_compiled(tmp_path: Path) -> None:
    log, cache = tmp_path / "log", tmp_path / "cache"
    compiles = f'echo compiled >> {log}; while [ "$1" != -o ]; do shift; done; echo library > "$2"'
    compiler = script(tmp_path / "c++", f'test "$1" = --version && exit; {compiles}')
    path = build(compiler, cache)
    assert [file.name for file in (cache / "native").iterdir()] == [path.name]
    assert path.read_text() == "library\n"
    assert build(compiler, cache) == path
    assert log.read_text() == "compiled\n"


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("compiler", "message"),
    [("exit 1", "does not run"), ('test "$1" = --version || { echo "no <vector>" >&2; exit 1; }', "no <vector>")],
    ids=["cannot run", "cannot compile"],
)
def test_without_a_working_compiler_torch_takes_the_step_and_the_log_says_why(
    compiler: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", script(tmp_path / "c++", compiler))
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))
    linear = select(torch.device("cpu"), torch.bfloat16, int8=True).matrix(*quantize_rows(torch.randn(8, 16)))
    assert type(linear) in (PackedLinear, Int8Linear)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert message in record.message
    assert "\n" not in record.message


@pytest.mark.usefixtures("fresh")
def test_no_compiler_at_all_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="apt-get install g"):
        find_compiler()
    assert library() is None


@pytest.mark.usefixtures("fresh")
def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_NATIVE", "0")
    assert library() is None


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="ANTIPHON_CACHE names another folder"):
        build(find_compiler(), tmp_path / "file" / "cache")


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("harm", ["file", "folder", "owner"])
def test_a_library_that_somebody_else_may_have_written_is_not_loaded(
    harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    compiled = library()
    assert compiled is not None
    path = tmp_path / "native" / Path(compiled._name).name
    path.parent.mkdir(mode=0o700)
    shutil.copy(compiled._name, path)
    path.chmod(0o700)
    library.cache_clear()
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path))
    assert build(find_compiler()) == path
    if harm == "owner":
        monkeypatch.setattr("os.geteuid", lambda: 4711)
        found = os.stat_result((*path.stat()[:4], 4712, *path.stat()[5:]))
        monkeypatch.setattr(Path, "stat", lambda self, **how: found)
    else:
        (path if harm == "file" else path.parent).chmod(0o770)
    assert library() is None
    assert "is another user's, or others may write to it: no code is loaded from there" in caplog.text


@pytest.mark.usefixtures("fresh")
def test_a_user_without_a_home_has_the_library_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "cache_root", lambda root=None: None)
    monkeypatch.setattr("antiphon.cache_folder.cache_root", lambda root=None: None)
    monkeypatch.delenv("ANTIPHON_CACHE", raising=False)
    made = list[list[str]]()

    def compile_nothing(command: list[str], **how: object) -> SimpleNamespace:
        made.append(command)
        if "-o" in command:
            Path(command[command.index("-o") + 1]).write_bytes(b"no library")
        return SimpleNamespace(stdout=b"")

    monkeypatch.setattr("subprocess.run", compile_nothing)
    path = build("c++")
    assert path.read_bytes() == b"no library"
    assert "there is no home folder" in caplog.text


def test_a_damaged_library_is_named(tmp_path: Path) -> None:
    path = tmp_path / "step.so"
    path.write_bytes(b"no library")
    with pytest.raises(BuildError, match=r"step\.so cannot be loaded"):
        load(path)


def test_a_library_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def antiphon_matmul(self, *arguments: int) -> None:
            ctypes.memset(arguments[-1], 0, 4)

    with pytest.raises(BuildError, match="wrong products"):
        module.check(Wrong(), Path("step.so"))  # type: ignore[arg-type]
