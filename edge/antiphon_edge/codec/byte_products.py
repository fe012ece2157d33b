"""How this processor multiplies bytes: what decides whether an int8 codec's signed weights can stay as they are."""

from __future__ import annotations

from pathlib import Path

_FLAGS = {"avx512_vnni", "avx_vnni"}


def has_vnni(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether an x86 processor adds the products of signed and unsigned bytes in 32 bits; False where nothing says so.

    AVX2 without VNNI adds two of them in 16 bits, with saturation. There, and where nobody knows, onnxruntime has to
    make the weights unsigned as it loads them (`session.x64quantprecision`): as exact, and slower. Its own test whether
    that is needed does not see VNNI.
    """
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return not _FLAGS.isdisjoint(flags)
