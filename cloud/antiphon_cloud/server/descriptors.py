"""The worker's limit of open files and connections, and the clients' share of it."""

from __future__ import annotations

import contextlib
import resource

WANTED = 8192
RESERVED = 256  # for everything but client connections: files, threads' pipes, /metrics and /healthz
CONNECTIONS = 4096  # of clients at most: an idle one takes some 30 kB


def raise_limit() -> int:
    """Raises this process's soft limit as far as needed and allowed; returns the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return WANTED
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # some systems allow less than their hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return soft


def connections(descriptors: int) -> int:
    """The number of client connections that leaves enough `descriptors` for the rest; half of them if they are few."""
    return min(CONNECTIONS, max(descriptors - RESERVED, descriptors // 2))
