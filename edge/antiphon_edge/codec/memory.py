"""What the system does with the memory of a session that has just loaded. Linux only; elsewhere nothing happens."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

_HUGE_PAGE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
_SMAPS = Path("/proc/self/smaps")
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25  # in a while, and at once: since Linux 6.1
_LEAST_IN_USE = 0.9  # of a mapping: a huge page brings its unused bytes into memory, too


def settle_memory() -> None:
    """Gives back what onnxruntime freed as it loaded, and holds the rest in huge pages.

    glibc would keep the first, 20 to 60 MiB at full size. A frame reads every weight once, so with small pages it looks
    up tens of thousands of them.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    trim = getattr(libc, "malloc_trim", None)  # another libc has none
    if trim is not None:
        trim(0)
    advise = libc.madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    try:
        for start, size in huge_ranges(_SMAPS.read_text(), int(_HUGE_PAGE.read_text())):
            for advice in (_MADV_HUGEPAGE, _MADV_COLLAPSE):
                advise(start, size, advice)  # a kernel that has no huge page to spare, or never does, says so: as good
    except (OSError, ValueError):
        return


def huge_ranges(smaps: str, page: int) -> Iterator[tuple[int, int]]:
    """Start and size of the whole huge pages in a process's private writable memory that is in use almost throughout.

    Args:
        smaps: the content of /proc/self/smaps.
        page: bytes of a huge page.
    """
    start = end = 0
    for line in smaps.splitlines():
        fields = line.split()
        if "-" in fields[0] and not fields[0].endswith(":"):
            anonymous = fields[1] == "rw-p" and (len(fields) == 5 or fields[5] == "[heap]")
            start, end = (int(address, 16) for address in fields[0].split("-")) if anonymous else (0, 0)
        elif fields[0] == "Rss:" and int(fields[1]) * 1024 >= _LEAST_IN_USE * (end - start):
            first, last = -(-start // page) * page, end // page * page
            if last > first:
                yield first, last - first
