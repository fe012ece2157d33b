"""The page's own code without a browser: its unit tests, in Node."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tools import ROOT
from tools.harness.worker_process import BIN

PAGE = ROOT / "gateway/page"


def test_the_pages_code_passes_its_tests(tmp_path: Path) -> None:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    node = shutil.which("node", path=path)
    if node is None or not (PAGE / "node_modules").is_dir():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Node and the page's packages are needed: make page")
    subprocess.run([node, "build.mjs", "--test", tmp_path], cwd=PAGE, check=True, timeout=300)
    tested = subprocess.run([node, "--test", tmp_path], cwd=PAGE, capture_output=True, text=True, timeout=300)
    assert tested.returncode == 0, tested.stdout
