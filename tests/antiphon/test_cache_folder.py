"""One root for both sides, and a way on where nothing can be kept."""

from __future__ import annotations

import logging
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from antiphon.cache_folder import VARIABLE, Kind, cache_folder, cache_root


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home where nothing is named."""
    for name in (VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_each_kind_has_a_folder_of_its_own_below_the_root(home: Path) -> None:
    root = cache_root()
    assert root is not None
    assert home in root.parents
    assert {kind: cache_folder(kind) for kind in Kind} == {kind: root / kind.value for kind in Kind}
    assert stat.S_IMODE((root / "codecs").stat().st_mode) == 0o700


def test_the_variable_names_the_root_and_the_caller_another(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(home / "named"))
    assert cache_folder(Kind.NATIVE) == home / "named/native"
    assert cache_folder(Kind.NATIVE, home / "mine") == home / "mine/native"


def test_a_home_that_cannot_be_written_is_done_without(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "file"))
    with caplog.at_level(logging.WARNING):
        folder = cache_folder(Kind.PULLED_CODECS)
    assert folder.is_dir()
    assert home not in folder.parents
    assert VARIABLE in caplog.text
    assert str(home / "file") in caplog.text


def test_a_root_that_was_named_and_cannot_be_written_is_an_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").write_text("no folder")
    with pytest.raises(NotADirectoryError):
        cache_folder(Kind.NATIVE, home / "file")
    monkeypatch.setenv(VARIABLE, str(home / "file"))
    with pytest.raises(NotADirectoryError):
        cache_folder(Kind.NATIVE)


def test_a_user_without_a_home_has_a_folder_that_goes_with_the_process() -> None:
    code = (
        "import os, pwd\n"
        "def nobody(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = nobody\n"
        "from antiphon.cache_folder import *\n"
        "assert cache_root() is None\n"
        "print(cache_folder(Kind.NATIVE))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    folder = Path(result.stdout.strip())
    assert folder.is_absolute()
    assert not folder.parent.exists()
    assert "there is no home folder" in result.stderr
