"""What a step runs on, as far as its cost goes, and the GPUs that people rent. Imports nothing that takes long."""

from __future__ import annotations

from dataclasses import dataclass

REACHED = 0.75  # of a data sheet's bandwidth, and of its operations: assumed, as no GPU was at hand
LAUNCH_S = 2e-6  # that a kernel of a captured graph takes at least: assumed likewise


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a step runs on. Bandwidth is what a step can reach, not the data sheet's figure."""

    name: str
    memory_bytes: float
    bandwidth: float  # bytes/s
    peak: float  # operations/s of bfloat16 products, two for each multiply-add
    overhead_s: float  # of a GPU: the least that a kernel takes; of a CPU: what a product takes beside its reading


def gpu(name: str, memory_gb: float, bandwidth_gb_s: float, peak_tflops: float) -> Hardware:
    """A GPU by its data sheet."""
    return Hardware(name, memory_gb * 1e9, bandwidth_gb_s * 1e9 * REACHED, peak_tflops * 1e12 * REACHED, LAUNCH_S)


GPUS = {
    machine.name: machine
    for machine in (  # NVIDIA's data sheets: memory, bandwidth, dense bfloat16 summed in float32
        gpu("L4", 24, 300, 121),
        gpu("A10G", 24, 600, 70),
        gpu("L40S", 48, 864, 362),
        gpu("A100", 80, 2039, 312),
        gpu("H100", 80, 3350, 989),
        gpu("H200", 141, 4800, 989),
        gpu("B200", 180, 8000, 2250),
        gpu("GB10", 128, 273, 125),
        gpu("RTX-3060", 12, 360, 25),
        gpu("RTX-3090", 24, 936, 71),
        gpu("RTX-4090", 24, 1008, 165),
        gpu("RTX-5090", 32, 1792, 209),
        gpu("AGX-Orin", 64, 205, 42),
    )
}
