"""Measures the accuracy of the int8 step against float32.

    python -m tools.bench.int8 MODEL_DIR...

Both step one conversation of random user codes, teacher-forced on float32's tokens. For text and for codes it prints
the share of positions whose likeliest token is the same, and the error of the logits relative to float32's (root mean
square of the difference over that of the logits).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.runner.runner import ModelRunner
from tools.bench.agreement import compare

VARIANTS = (  # name, --dtype, --quantize, --kv-cache
    ("int8 weights, as served (keys and values in bfloat16)", torch.bfloat16, "int8", None),
    ("int8 weights, --dtype float32", torch.float32, "int8", None),
    ("int8 weights, --kv-cache int8", torch.bfloat16, "int8", torch.int8),
    ("float32 weights, --kv-cache int8", torch.float32, "none", torch.int8),
    ("float32 weights, --kv-cache bfloat16", torch.float32, "none", torch.bfloat16),
    ("bfloat16 weights, for comparison", torch.bfloat16, "none", None),
)


def main() -> None:
    """Compares every variant of every model with float32."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()
    print("int8 products by", select(torch.device("cpu"), torch.bfloat16, int8=True).name)
    for path in args.models:
        directory = ModelDirectory.open(path)
        wanted = ModelRunner.load(directory, 1, torch.float32, "cpu", quantize="none")
        for name, dtype, quantize, kv_dtype in VARIANTS:
            found = ModelRunner.load(directory, 1, dtype, "cpu", quantize=quantize, kv_dtype=kv_dtype)
            text, codes = compare(wanted, found, args.steps)
            print(f"{directory.name}, {name}: {text} text; {codes} codes", flush=True)


if __name__ == "__main__":
    main()
