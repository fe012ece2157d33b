"""compile_kernels.py: compiles the GPU's kernels without a GPU, and prints what each takes of a multiprocessor.

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

from antiphon_cloud.kernels import int8_linear, ring_attention

SHARED_KIB = {80: 163, 86: 99, 89: 99, 90: 227}  # that a program can have, by compute capability
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


@dataclass(frozen=True, slots=True)
class Variant:
    """A kernel with its types and constants fixed."""

    name: str
    kernel: Any
    signature: dict[str, str]
    constants: dict[str, Any]
    options: dict[str, int]


def variants() -> Iterator[Variant]:
    """All that a step of the 7B launches."""
    for rows in (1, 17, 33):
        block = int8_linear.block_rows(rows)
        constants = {
            "BLOCK_ROWS": block,
            "BLOCK_OUTPUTS": int8_linear.BLOCK_OUTPUTS,
            "BLOCK_INPUTS": int8_linear.BLOCK_INPUTS,
        }
        signature = {"x": "*bf16", "weight": "*i8", "scale": "*fp32", "y": "*bf16",
                     "rows": "i32", "outputs": "i32", "inputs": "i32"}  # fmt: skip
        options = {"num_warps": int8_linear.WARPS, "num_stages": int8_linear.STAGES}
        yield Variant(f"int8_linear, {block} rows", int8_linear.kernel, signature, constants, options)
    for cache, pointer in (("bfloat16", "*bf16"), ("int8", "*i8")):
        constants = {"INT8": cache == "int8", "PART": ring_attention.PART, "BLOCK": ring_attention.BLOCK, "DIM": 128}
        signature = {"q": "*bf16", "keys": pointer, "values": pointer, "key_scales": "*fp32", "value_scales": "*fp32",
                     "slots": "*i64", "steps": "*i64", "out": "*fp32", "largest": "*fp32", "total": "*fp32",
                     "heads": "i32", "context": "i32", "dim": "i32"}  # fmt: skip
        options = {"num_warps": ring_attention.WARPS, "num_stages": ring_attention.STAGES}
        yield Variant(f"ring_attention, {cache}", ring_attention.kernel, signature, constants, options)


def resources(variant: Variant, capability: int) -> tuple[int, int, int]:
    """Registers and spilled bytes a thread, and shared bytes a program."""
    signature = variant.signature | dict.fromkeys(variant.constants, "constexpr")
    aligned = {
        (index,): [["tt.divisibility", 16]]
        for index, (name, kind) in enumerate(signature.items())
        if kind.startswith("*") or name in ("inputs", "outputs", "dim", "heads")
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
            print(f"{variant.name:24} sm_{capability}: {registers:3} registers, {spilled} bytes spilled, "
                  f"{shared} bytes shared{'  TOO MUCH' if bad else ''}")  # fmt: skip
    return failed


if __name__ == "__main__":
    sys.exit(main())
