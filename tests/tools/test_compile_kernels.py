"""The kernels compile for every GPU that is served, without one."""

import re
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools" / "compile_kernels.py"


def test_they_compile_ahead_of_time_and_spill_nothing() -> None:
    finished = subprocess.run([sys.executable, TOOL], capture_output=True, text=True, check=False)
    report = finished.stdout
    sys.stdout.write(report)
    assert finished.returncode == 0, report + finished.stderr
    for architecture in ("sm_80", "sm_86", "sm_89", "sm_90"):
        for dtype in ("bfloat16", "float16"):  # seven kinds of batch, two of cache
            assert len(re.findall(rf"^\w+, {dtype}, .*{architecture}:", report, re.MULTILINE)) == 9
