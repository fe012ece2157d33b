"""The kernels compile without a GPU."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("batch", ["1", "64"])
def test_what_a_step_of_the_7b_launches_compiles_without_spilling(batch: str) -> None:
    program = [sys.executable, "-m", "tools.gpu.compile_kernels", "--config", "7b", "--batch", batch]
    done = subprocess.run([*program, "--architecture", "89", "90"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, last = done.stdout.splitlines()
    variants = int(last.split()[0])
    assert variants > 20
    assert last.endswith("for 2 architectures, 0 of them too large")
    assert sum(" 0 bytes spilled" in line for line in lines) == 2 * variants
    kernels = {line.split("`")[1] for line in lines if line.startswith("| `")}
    assert kernels >= {
        "begin",
        "embed",
        "norm_qkv_append",
        "attend",
        "linear_add",
        "norm_gate",
        "draw",
        "finish",
        "reduce",
    }
