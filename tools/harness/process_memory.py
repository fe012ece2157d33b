"""The memory of a process, from Linux."""

from __future__ import annotations

from pathlib import Path


def memory_bytes(pid: int | str = "self", field: str = "VmRSS") -> int:
    """Bytes in a field of a process' status, this one's where absent: VmRSS is the current memory, VmHWM the peak."""
    return 1024 * int(Path(f"/proc/{pid}/status").read_text().partition(f"{field}:")[2].split()[0])
