"""How many files and connections the worker may have open, and how many of those are for connections of clients."""

from __future__ import annotations

import contextlib
import resource

WANTED = 8192
RESERVED = 256  # for all that is no client's connection: files, threads' pipes, /metrics and /healthz
CONNECTIONS = 4096  # of clients at the most: each takes some 30 kB while it does nothing


def raise_limit() -> int:
    """Raises this process's soft limit as far as it needs and may; returns what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return WANTED
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # some systems allow less than their hard limit says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return soft


def connections(descriptors: int) -> int:
    """Connections of clients that leave enough of the `descriptors` for the rest; half of them where those are few."""
    return min(CONNECTIONS, max(descriptors - RESERVED, descriptors // 2))
