"""Counts the kernels that one captured step launches, without a GPU, and predicts how long the step takes on each card.

    python -m tools.gpu.count_launches [--config 7b] [--kv int8] [--batch N] [--seconds S]

Prints for each part of the step its launches, and the megabytes that they read and write; then for each card that
`antiphon-cloud plan` knows, what the parts take by the model of `antiphon_cloud.runner.cost`: each kernel as long as
its bytes at 0.75 of the data sheet's bandwidth, and no less than 2 µs. Nothing of it was measured on a card.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace

import torch

from antiphon_cloud.model.adapters import AdapterRoom
from antiphon_cloud.runner.cost import GpuCost, cost
from antiphon_cloud.runner.gpus import GPUS
from antiphon_cloud.runner.step_launches import PARTS, step_launches
from antiphon_cloud.timing import FRAME_S
from tools.gpu.configs import CONFIGS


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=CONFIGS, default="7b")
    parser.add_argument("--weights", choices=("int8", "bfloat16"), default="int8")
    parser.add_argument(
        "--kv", choices=("bfloat16", "int8"), default="bfloat16", help="what keys and values are held in"
    )
    parser.add_argument("--batch", type=int, default=1, help="sessions that step together")
    parser.add_argument("--seconds", type=float, default=0.0, help="that each of them has lasted")
    parser.add_argument("--adapter-rank", type=int, help="each session has an adapter of this rank; none where absent")
    args = parser.parse_args()
    config, kv_dtype = CONFIGS[args.config], getattr(torch, args.kv)
    int8 = args.weights == "int8"
    room = None if args.adapter_rank is None else AdapterRoom(args.batch, args.adapter_rank)
    launches = step_launches(config, torch.bfloat16, args.batch, int8=int8, kv_dtype=kv_dtype, room=room)
    entries = args.batch * min(args.seconds / FRAME_S, config.context)
    print(f"part        launches  MB read and written  kernels (batch {args.batch}, sessions of {args.seconds:g} s)")
    for part in PARTS:
        of_part = [each.launch for each in launches if each.part == part]
        kinds = ", ".join(f"{count} {name}" for name, count in Counter(each.name for each in of_part).most_common())
        moved = sum(each.bytes(entries) for each in of_part) / 1e6
        print(f"{part:10} {len(of_part):9} {moved:20.2f}  {kinds}")
    print(f"{'all':10} {len(launches):9} {sum(each.launch.bytes(entries) for each in launches) / 1e6:20.2f}\n")
    needed = cost(config, torch.bfloat16, "cuda", int8=int8, kv_dtype=kv_dtype)
    assert isinstance(needed, GpuCost)
    filled = min(args.seconds / FRAME_S / config.context, 1.0)
    print(f"{'card':6} {'step ms':>8} {'reading alone':>14}  {'  '.join(f'{part:>10}' for part in PARTS)}")
    for card in GPUS.values():
        parts = needed.parts_s(card, args.batch, filled)
        reading_s = needed.step_s(replace(card, overhead_s=0.0), args.batch, filled)
        print(
            f"{card.name:6} {1e3 * sum(parts.values()):8.2f} {1e3 * reading_s:14.2f}  "
            f"{'  '.join(f'{1e3 * parts[part]:10.2f}' for part in PARTS)}"
        )


if __name__ == "__main__":
    main()
