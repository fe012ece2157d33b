"""The memory of a process, from Linux."""

from __future__ import annotations

from pathlib import Path


def memory_bytes(of: int | None = None, field: str = "VmRSS") -> int:
    """Bytes in a field of the status of process `of`, or of this one: VmRSS is the current memory, VmHWM the peak."""
    return 1024 * int(Path(f"/proc/{of or 'self'}/status").read_text().partition(f"{field}:")[2].split()[0])
