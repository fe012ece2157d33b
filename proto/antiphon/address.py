"""HOST:PORT, for both sides and both command lines."""

from __future__ import annotations

from antiphon.errors import ArgumentError

MAX_PORT = 65_535


def split_address(address: str, least_port: int = 0) -> tuple[str, int]:
    """Host and port of HOST:PORT. The brackets around an IPv6 address are not part of the host.

    Args:
        address: HOST:PORT.
        least_port: 0 if the system may pick the port, 1 for a port to connect to.

    Raises:
        ArgumentError: it is invalid.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or not least_port <= int(port) <= MAX_PORT:
        raise ArgumentError(f"{address!r} is no HOST:PORT with a port of {least_port} to {MAX_PORT}")
    return host.strip("[]"), int(port)


def join_address(host: str, port: int) -> str:
    """HOST:PORT, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host and "/" not in host else f"{host}:{port}"
