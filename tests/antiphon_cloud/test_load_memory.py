"""What loading takes in memory beside what it leaves there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from random_checkpoint import write

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak")

CONFIG = {
    "dim": 1024, "num_heads": 16, "num_layers": 8, "context": 16, "text_card": 4000, "n_q": 4, "dep_q": 2,
    "delays": [0, 0, 1, 0, 1], "depformer_dim": 256, "depformer_num_heads": 4, "depformer_num_layers": 2,
    "depformer_dim_feedforward": 1056, "model_type": "moshi",
}  # fmt: skip

# glibc gives freed memory back at once: what it would keep differs by 20 MB from run to run, and is none of ours.
AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144", "MALLOC_ARENA_MAX": "1"}

LOAD = """
import json, sys
from pathlib import Path
import torch
from antiphon_cloud.checkpoint import load_model
from antiphon_cloud.model_directory import ModelDirectory

def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

torch.set_num_threads(1)
directory = ModelDirectory.open(Path(sys.argv[1]))
load_model(ModelDirectory.open(Path(sys.argv[2])), torch.bfloat16, torch.device("cpu"), "int8")  # what is done once
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
before = memory("VmRSS")
model = load_model(directory, torch.bfloat16, torch.device("cpu"), "int8")
peak = memory("VmHWM") - before
size = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
print(json.dumps({"peak": peak, "size": size}))
"""


def test_quantizing_while_loading_takes_little_more_than_the_result(tmp_path: Path) -> None:
    write(tmp_path / "large", CONFIG)
    write(tmp_path / "small", CONFIG | {"dim": 64, "num_heads": 2, "num_layers": 1, "text_card": 100})
    command = [sys.executable, "-c", LOAD, str(tmp_path / "large"), str(tmp_path / "small")]
    environment = os.environ | AT_ONCE
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)
    assert found["size"] > 100e6
    assert found["size"] < found["peak"] < 1.15 * found["size"]
