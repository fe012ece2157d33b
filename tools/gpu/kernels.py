"""The stage `kernels`: the tests of the GPU's kernels, on the GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

from tools import ROOT
from tools.gpu.subject import Bench, FailedError, Tell

TESTS = "tests/antiphon_cloud/backends/cuda"
ON_THE_GPU = {"TRITON_INTERPRET": "0"}  # for these tests, which otherwise run in the interpreter
PLUGINS = ("pytest_asyncio", "pytest_timeout")  # that the project's settings of pytest need


def run(bench: Bench, tell: Tell) -> None:
    """Runs them in a process of their own.

    Raises:
        FailedError: one fails, or they cannot be run.
    """
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"{TESTS}/test_products.py",
        f"{TESTS}/kernels",
    ]
    if not all(map(find_spec, PLUGINS)):
        command += ["-c", os.devnull, "--rootdir", str(ROOT), "--import-mode=importlib"]
    ran = subprocess.run(
        command, cwd=ROOT, env=os.environ | ON_THE_GPU, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    lines = ran.stdout.strip().splitlines() or ["pytest said nothing"]
    if ran.returncode:
        for line in lines[-40:-1]:
            tell(line)
        raise FailedError(f"{TESTS}: {lines[-1]}")
    tell(f"{TESTS}: {lines[-1]}")
