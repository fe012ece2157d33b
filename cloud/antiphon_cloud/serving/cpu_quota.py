"""How many processors this process may keep busy, by its affinity and its control groups' quotas.

A container with half a processor still sees all of the machine's. Threads beyond the quota compute no more: they use
it up sooner, and then all of them are throttled until the next period, for up to 100 ms.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PROC = Path("/proc/self")


def usable_cpus(proc: Path = PROC) -> int:
    """Processors that may be busy all the time, at least 1; two for a quota of 2.5."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = quota(proc)
    return allowed if limit is None else max(1, min(allowed, int(limit)))


def quota(proc: Path = PROC) -> float | None:
    """Processors' worth of time that the process' control groups allow, of both versions and all parents; None
    without a limit or without control groups.

    Args:
        proc: holds `cgroup` and `mountinfo` as the kernel writes them.
    """
    limits = [limit for folder in _folders(proc) for limit in (_second_version(folder), _first_version(folder))]
    return min((limit for limit in limits if limit is not None), default=None)


def _folders(proc: Path) -> Iterator[Path]:
    """The folders of the process's groups, each followed by its visible parents."""
    try:
        memberships = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
        mounts = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
    except OSError:
        return
    for _, controllers, group in (parts for parts in memberships if len(parts) == 3):
        for fields in mounts:
            if len(fields) < 10 or "-" not in fields[6:]:
                continue
            root, mount = (_unescaped(fields[at]) for at in (3, 4))
            kind, _, options = fields[fields.index("-", 6) + 1 :][:3]
            second = kind == "cgroup2" and not controllers
            first = kind == "cgroup" and "cpu" in controllers.split(",") and "cpu" in options.split(",")
            if second or first:
                yield from _with_parents(Path(mount), root, group)


def _with_parents(mount: Path, root: str, group: str) -> Iterator[Path]:
    """The group's folder below the mount, which shows the hierarchy from `root` on; then its parents."""
    inside = PurePosixPath(group)
    if not inside.is_relative_to(root) or ".." in inside.parts:  # its own namespace: the mount is all that it sees
        yield mount
        return
    folder = mount / inside.relative_to(root)
    while True:
        yield folder
        if folder == mount:
            return
        folder = folder.parent


def _second_version(folder: Path) -> float | None:
    allowed, _, period = _read(folder / "cpu.max").partition(" ")
    return _share(allowed, period)


def _first_version(folder: Path) -> float | None:
    return _share(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _share(allowed: str, period: str) -> float | None:
    """The quotient; None for "max", -1 and anything not a number."""
    try:
        return int(allowed) / int(period) if int(allowed) > 0 and int(period) > 0 else None
    except ValueError:
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _unescaped(field: str) -> str:
    """A path of mountinfo without its octal escapes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
