"""Compiles every kernel that a step launches, without a GPU, and prints what each takes of a multiprocessor.

    python -m tools.gpu.compile_kernels [--config 7b] [--batch 1 64] [--architecture 90]

What is compiled is what steps of these models and batches ask Triton for, in bfloat16, with weights and keys and
values in bfloat16 and in int8, without adapters and with one for each session. One line a kernel, variant and
architecture: registers a thread, bytes spilled a thread, bytes of shared memory a program, warps of a program, and
the programs that a multiprocessor holds at once. Exits with status 1 where a kernel spills, or takes more shared
memory than the architecture gives a program. The table at the end has for each kernel the most registers, spilled
bytes and shared bytes of its variants, and the fewest warps at once.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

os.environ |= {"TRITON_INTERPRET": "0", "TRITON_DEFAULT_FP_FUSION": "1"}

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from antiphon_cloud.backends.cuda.launch import Call
from antiphon_cloud.model.adapters import AdapterRoom
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.runner.step_launches import step_launches
from tools.gpu.configs import CONFIGS

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
BATCHES = (1, 8, 32, 64)
ADAPTERS = AdapterRoom(8, 64)
OPTIONS = ("num_warps", "num_stages")  # of Triton, among a call's constants
TYPES = {
    torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.float32: "*fp32", torch.int8: "*i8", torch.int32: "*i32",
    torch.int64: "*i64", torch.bool: "*i1",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Multiprocessor:
    """What an architecture has for programs; CUDA C++ Programming Guide, "Compute Capabilities"."""

    program_kib: int  # of shared memory, at most for a program
    shared_kib: int
    warps: int
    registers: int = 65536

    def programs(self, registers: int, shared: int, warps: int) -> int:
        """How many of a kind it holds at once; registers are given out by 256 a warp."""
        by_registers = self.registers // (-(-32 * registers // 256) * 256 * warps)
        return min(by_registers, self.shared_kib * 1024 // (shared + 1024), self.warps // warps, 32)


ARCHITECTURES = {
    80: Multiprocessor(163, 164, 64),
    86: Multiprocessor(99, 100, 48),
    89: Multiprocessor(99, 100, 48),
    90: Multiprocessor(227, 228, 64),
    100: Multiprocessor(227, 228, 64),
    120: Multiprocessor(99, 100, 48),
}


@dataclass(frozen=True)
class Variant:
    """A kernel as Triton specializes it: types, constants, and which arguments are multiples of 16."""

    module: str
    kernel: str
    signature: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, object], ...]
    aligned: frozenset[str]
    options: tuple[tuple[str, object], ...]
    call: Call = field(compare=False)

    def __str__(self) -> str:
        types = {kind.removeprefix("*") for _, kind in self.signature if kind in ("*bf16", "*i8")}
        values = {
            name: value for name, value in self.constants if name.isupper() and name not in ("PRESCALE", "INPUTS")
        }
        return f"{self.kernel} {'/'.join(sorted(types))} {' '.join(f'{k}={v}' for k, v in values.items())}"


def variants(config: LMConfig, batches: Iterable[int]) -> Iterator[Variant]:
    """All that steps of these batches launch."""
    for batch in batches:
        for int8, kv_dtype in ((True, torch.bfloat16), (True, torch.int8), (False, torch.bfloat16)):
            for room in (None, ADAPTERS):
                for each in step_launches(config, torch.bfloat16, batch, int8=int8, kv_dtype=kv_dtype, room=room):
                    if each.launch.call is not None:
                        yield specialized(each.launch.call)


def specialized(call: Call) -> Variant:
    """As Triton specializes a call: none and 1 are constants, and multiples of 16 are known as such."""
    function = call.kernel.function()
    names, general = function.arg_names, {each.name for each in function.params if each.do_not_specialize}
    signature: list[tuple[str, str]] = []
    constants: list[tuple[str, object]] = []
    aligned: set[str] = set()
    for name, value in zip(names, call.arguments, strict=False):
        if value is None or (isinstance(value, int) and value == 1 and name not in general):
            constants.append((name, value))
            signature.append((name, "constexpr"))
        elif isinstance(value, Tensor):
            signature.append((name, TYPES[value.dtype]))
            if value.storage_offset() * value.element_size() % 16 == 0:
                aligned.add(name)
        else:
            signature.append((name, "fp32" if isinstance(value, float) else "i32"))
            if isinstance(value, int) and value % 16 == 0 and name not in general:
                aligned.add(name)
    options = [(name, value) for name, value in call.constants.items() if name in OPTIONS]
    for name, value in call.constants.items():
        if name not in OPTIONS:
            constants.append((name, value))
            signature.append((name, "constexpr"))
    order = {name: index for index, name in enumerate(names)}
    signature.sort(key=lambda each: order[each[0]])
    return Variant(
        call.kernel.module,
        call.kernel.name,
        tuple(signature),
        tuple(constants),
        frozenset(aligned),
        tuple(options),
        call,
    )


@dataclass(frozen=True, slots=True)
class Usage:
    """What a compiled variant takes of a multiprocessor."""

    registers: int  # a thread
    spilled: int  # bytes a thread
    shared: int  # bytes a program
    warps: int
    programs: int  # that a multiprocessor holds at once
    good: bool

    def __str__(self) -> str:
        return (
            f"{self.registers:3} registers, {self.spilled} bytes spilled, {self.shared:6} shared, {self.warps} warps, "
            f"{self.programs:2} programs{'' if self.good else '  TOO MUCH'}"
        )


def compiled(variant: Variant, architecture: int) -> Usage:
    """What the variant takes there."""
    signature = dict(variant.signature)
    aligned = {(index,): [["tt.divisibility", 16]] for index, name in enumerate(signature) if name in variant.aligned}
    source = ASTSource(
        fn=variant.call.kernel.function(), signature=signature, constexprs=dict(variant.constants), attrs=aligned
    )
    binary = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=dict(variant.options))
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary.asm["cubin"])
        file.flush()
        told = subprocess.run([CUOBJDUMP, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    found = {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL|SHARED):(\d+)", told)}
    registers, spilled = found["REG"], found["STACK"] + found["LOCAL"]
    shared = max(found["SHARED"], binary.metadata.shared)
    warps, has = binary.metadata.num_warps, ARCHITECTURES[architecture]
    good = not spilled and shared <= has.program_kib * 1024
    return Usage(registers, spilled, shared, warps, has.programs(registers, shared, warps), good)


def summary(found: Mapping[tuple[str, int], Sequence[Usage]]) -> Iterator[str]:
    """A table to paste: for each kernel and architecture the most of all variants, and the fewest warps at once."""
    architectures = sorted({architecture for _, architecture in found})
    yield "| kernel | " + " | ".join(f"sm_{architecture}" for architecture in architectures) + " |"
    yield "| --- |" + " --- |" * len(architectures)
    for kernel in dict.fromkeys(kernel for kernel, _ in found):
        cells = []
        for usages in (found[kernel, architecture] for architecture in architectures):
            most = (max(getattr(usage, name) for usage in usages) for name in ("registers", "spilled", "shared"))
            cells.append(", ".join(map(str, (*most, min(usage.programs * usage.warps for usage in usages)))))
        yield f"| `{kernel}` | {' | '.join(cells)} |"


def main() -> int:
    """Compiles every variant for every architecture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=CONFIGS, nargs="+", default=list(CONFIGS))
    parser.add_argument("--batch", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--architecture", type=int, choices=ARCHITECTURES, nargs="+", default=list(ARCHITECTURES))
    args = parser.parse_args()
    found = dict.fromkeys(variant for name in args.config for variant in variants(CONFIGS[name], args.batch))
    usages: dict[tuple[str, int], list[Usage]] = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for architecture in args.architecture:
            for variant, usage in zip(
                found, pool.map(partial(compiled, architecture=architecture), found), strict=True
            ):
                usages.setdefault((variant.kernel, architecture), []).append(usage)
                print(f"{variant!s:90} sm_{architecture:<3} {usage}", flush=True)
    print("\n".join(summary(usages)))
    failed = sum(not usage.good for each in usages.values() for usage in each)
    print(f"{len(found)} variants for {len(args.architecture)} architectures, {failed} of them too large")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
