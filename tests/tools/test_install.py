"""The set-up says in one sentence why it cannot be done, before it downloads anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import ROOT

INSTALL = ROOT / "tools/setup/install.sh"


@pytest.mark.parametrize(
    ("asked", "words"),
    [("version_info", "is not supported"), ("maxsize", "32-bit"), ("ensurepip", "python3-venv")],
)
def test_a_python_that_will_not_do_is_refused(asked: str, words: str, tmp_path: Path) -> None:
    python = tmp_path / "python"  # fails where it is asked for `asked`
    python.write_text(f'#!/bin/sh\ncase "$*" in *{asked}*) exit 1 ;; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(
        [INSTALL], env=os.environ | {"PYTHON": str(python)}, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_python_that_is_not_there_is_named() -> None:
    environment = os.environ | {"PYTHON": "python-of-nowhere"}
    done = subprocess.run([INSTALL], env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert "there is no python-of-nowhere" in done.stderr
