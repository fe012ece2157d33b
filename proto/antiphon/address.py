"""HOST:PORT, as both sides and both command lines read it."""

from __future__ import annotations

from antiphon.errors import ArgumentError

MAX_PORT = 65_535


def split_address(address: str, least_port: int = 0) -> tuple[str, int]:
    """Host and port of HOST:PORT; an IPv6 address stands in brackets, which are not part of the host.

    Args:
        address: what somebody gave.
        least_port: 0 where a port may be picked, 1 where somebody must be there.

    Raises:
        ArgumentError: it is none.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or not least_port <= int(port) <= MAX_PORT:
        raise ArgumentError(f"{address!r} is no HOST:PORT with a port of {least_port} to {MAX_PORT}")
    return host.strip("[]"), int(port)


def join_address(host: str, port: int) -> str:
    """HOST:PORT, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host and "/" not in host else f"{host}:{port}"
