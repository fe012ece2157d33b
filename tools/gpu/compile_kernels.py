"""Compiles the GPU's kernels without a GPU, and prints what each takes of a multiprocessor.

    python -m tools.gpu.compile_kernels

One line a kernel, variant and architecture: registers a thread, bytes spilled a thread, bytes of shared memory a
program. Fails if a kernel spills, or takes more shared memory than the architecture gives a program.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ |= {"TRITON_INTERPRET": "0", "TRITON_DEFAULT_FP_FUSION": "1"}

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from antiphon_cloud.backends.cuda import int8_linear, ring_attention

SHARED_KIB = {80: 163, 86: 99, 89: 99, 90: 227}  # that a program can have, by compute capability
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


TYPES = {"bfloat16": "*bf16", "float16": "*fp16", "int8": "*i8"}  # Triton's names
ROWS = (1, 8, 16, 24, 32, 40, 64)  # of each block: one row, multiples of 16, others; Triton specialises on each


@dataclass(frozen=True, slots=True)
class Variant:
    """A kernel with its types and constants fixed."""

    name: str
    kernel: Any
    signature: dict[str, str]
    constants: dict[str, Any]
    aligned: frozenset[str]  # arguments that are multiples of 16, which Triton makes use of
    options: dict[str, int]


def variants() -> Iterator[Variant]:
    """All that a step of the 7B launches."""
    for dtype in ("bfloat16", "float16"):
        yield from (linear(dtype, rows) for rows in ROWS)
        yield from (attention(dtype, cache) for cache in (dtype, "int8"))


def linear(dtype: str, rows: int) -> Variant:
    """The matrix product of `rows` activations in `dtype`."""
    constants = {
        "BLOCK_ROWS": int8_linear.block_rows(rows),
        "BLOCK_OUTPUTS": int8_linear.BLOCK_OUTPUTS,
        "BLOCK_INPUTS": int8_linear.BLOCK_INPUTS,
    }
    signature = {"x": TYPES[dtype], "weight": "*i8", "scale": "*fp32", "y": TYPES[dtype],
                 "rows": "i32", "outputs": "i32", "inputs": "i32"}  # fmt: skip
    aligned = {"outputs", "inputs"}
    if rows == 1:
        constants["rows"] = 1
    elif rows % 16 == 0:
        aligned.add("rows")
    options = {"num_warps": int8_linear.WARPS, "num_stages": int8_linear.STAGES}
    name = f"int8_linear, {dtype}, {rows} row{'s' * (rows > 1)}"
    return Variant(name, int8_linear.kernel, signature, constants, frozenset(aligned), options)


def attention(dtype: str, cache: str) -> Variant:
    """The attention of activations in `dtype` to keys and values in `cache`."""
    constants = {"INT8": cache == "int8", "PART": ring_attention.PART, "BLOCK": ring_attention.BLOCK, "DIM": 128}
    signature = {"q": TYPES[dtype], "keys": TYPES[cache], "values": TYPES[cache],
                 "key_scales": "*fp32", "value_scales": "*fp32",
                 "slots": "*i64", "steps": "*i64", "out": "*fp32", "largest": "*fp32", "total": "*fp32",
                 "heads": "i32", "context": "i32", "dim": "i32"}  # fmt: skip
    options = {"num_warps": ring_attention.WARPS, "num_stages": ring_attention.STAGES}
    name = f"ring_attention, {dtype}, {cache} cache"
    return Variant(name, ring_attention.kernel, signature, constants, frozenset({"heads", "dim"}), options)


def resources(variant: Variant, capability: int) -> tuple[int, int, int]:
    """Registers and spilled bytes a thread, and shared bytes a program."""
    signature = variant.signature | dict.fromkeys(variant.constants, "constexpr")
    aligned = {
        (index,): [["tt.divisibility", 16]]
        for index, (name, kind) in enumerate(signature.items())
        if kind.startswith("*") or name in variant.aligned
    }
    source = ASTSource(fn=variant.kernel, signature=signature, constexprs=variant.constants, attrs=aligned)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=variant.options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        report = subprocess.run([CUOBJDUMP, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    usage = {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL|SHARED):(\d+)", report)}
    return usage["REG"], usage["STACK"] + usage["LOCAL"], max(usage["SHARED"], compiled.metadata.shared)


def main() -> int:
    """Compiles every variant for every architecture."""
    failed = False
    for variant in variants():
        for capability, limit_kib in SHARED_KIB.items():
            registers, spilled, shared = resources(variant, capability)
            bad = spilled > 0 or shared > limit_kib * 1024
            failed |= bad
            print(f"{variant.name:40} sm_{capability}: {registers:3} registers, {spilled} bytes spilled, "
                  f"{shared} bytes shared{'  TOO MUCH' if bad else ''}")  # fmt: skip
    return failed


if __name__ == "__main__":
    sys.exit(main())
