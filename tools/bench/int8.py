"""What int8 costs in accuracy, in the step that serves, against float32.

    python -m tools.bench.int8 MODEL_DIR...

Both hear one conversation, of random user codes and of what float32 says. Printed are the share of positions whose
likeliest token stays the same, and the logits' error relative to float32's (root mean square of the difference over
that of the logits), for text and for codes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.runner.runner import ModelRunner
from tools.bench.agreement import compare

VARIANTS = (  # what is printed, --dtype, --quantize and --kv-cache
    ("int8 weights, as served (keys and values in bfloat16)", torch.bfloat16, "int8", None),
    ("int8 weights, --dtype float32", torch.float32, "int8", None),
    ("int8 weights, --kv-cache int8", torch.bfloat16, "int8", torch.int8),
    ("float32 weights, --kv-cache int8", torch.float32, "none", torch.int8),
    ("float32 weights, --kv-cache bfloat16", torch.float32, "none", torch.bfloat16),
    ("bfloat16 weights, for comparison", torch.bfloat16, "none", None),
)


def main() -> None:
    """Parses the arguments."""
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
