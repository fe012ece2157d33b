"""The kernels compile for every GPU that is served, without one."""

import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[3] / "tools" / "compile_kernels.py"


def test_they_compile_ahead_of_time_and_spill_nothing() -> None:
    finished = subprocess.run([sys.executable, TOOL], capture_output=True, text=True, check=False)
    sys.stdout.write(finished.stdout)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    for architecture in ("sm_80", "sm_86", "sm_89", "sm_90"):
        assert finished.stdout.count(f"{architecture}:") == 5
