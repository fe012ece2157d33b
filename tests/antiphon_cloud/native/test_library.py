"""Compiling the CPU step: once a machine, and never in the way."""

import ctypes
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from antiphon_cloud.native import library as module
from antiphon_cloud.native.library import BuildError, build, find_compiler, library, load
from antiphon_cloud.quant import Int8Linear, PackedLinear, int8_module, quantize_rows

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler is installed")


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
    assert [file.name for file in cache.iterdir()] == [path.name]
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
    linear = int8_module(*quantize_rows(torch.randn(8, 16)), torch.bfloat16, torch.device("cpu"))
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


def test_a_damaged_library_is_named(tmp_path: Path) -> None:
    path = tmp_path / "step.so"
    path.write_bytes(b"no library")
    with pytest.raises(BuildError, match=r"step\.so cannot be loaded"):
        load(path)


def test_a_library_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def antiphon_product(self, *arguments: int) -> None:
            ctypes.memset(arguments[-1], 0, 4)

    with pytest.raises(BuildError, match="wrong products"):
        module.check(Wrong(), Path("step.so"))  # type: ignore[arg-type]
