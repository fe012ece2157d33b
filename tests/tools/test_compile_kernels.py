"""The kernels compile for every GPU that is served, without one."""

import re
import subprocess
import sys


def test_they_compile_ahead_of_time_and_spill_nothing() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tools.gpu.compile_kernels"], capture_output=True, text=True, check=False
    )
    report = finished.stdout
    sys.stdout.write(report)
    assert finished.returncode == 0, report + finished.stderr
    for architecture in ("sm_80", "sm_86", "sm_89", "sm_90"):
        for dtype in ("bfloat16", "float16"):  # seven kinds of batch, two of cache
            assert len(re.findall(rf"^\w+, {dtype}, .*{architecture}:", report, re.MULTILINE)) == 9
