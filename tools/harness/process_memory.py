"""What this process holds in memory, as Linux tells it."""

from __future__ import annotations

from pathlib import Path


def memory_bytes(field: str = "VmRSS") -> int:
    """Bytes of a line of the process's status: VmRSS now, VmHWM at most."""
    return 1024 * int(Path("/proc/self/status").read_text().partition(f"{field}:")[2].split()[0])
