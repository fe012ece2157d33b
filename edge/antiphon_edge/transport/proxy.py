"""Whether an HTTP proxy stands between the edge and a worker, as gRPC reads the environment.

Plaintext and loopback never go through one: it would read the conversation and the API key, and no proxy is needed to
reach one's own machine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from antiphon.address import split_address
from antiphon.tls import is_loopback

VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")  # the first that is set counts
EXCEPTIONS = ("no_grpc_proxy", "no_proxy")

DIRECT = (
    ("grpc.enable_http_proxy", 0),  # the variables above
    ("grpc.address_http_proxy_enabled_addresses", ""),  # GRPC_ADDRESS_HTTP_PROXY, which the first does not switch off
)


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy, and where it was named."""

    variable: str
    address: str
    """Its HOST:PORT, without the name and the password that its URL may hold."""

    def __str__(self) -> str:
        return f"the proxy {self.address} ({self.variable})"


def may_use_proxy(address: str, tls: bool) -> bool:
    """Whether a connection to `address` (HOST:PORT) may use a proxy: it is encrypted, and leaves this machine."""
    return tls and not is_loopback(address)


def find_proxy(address: str, tls: bool) -> Proxy | None:
    """The proxy through which gRPC connects to `address` (HOST:PORT); None where it goes there directly."""
    variable = next((name for name in VARIABLES if name in os.environ), None)
    if variable is None or not may_use_proxy(address, tls):
        return None
    url = os.environ[variable]
    if not url or _is_excepted(split_address(address)[0]):
        return None
    return Proxy(variable, (urlsplit(url).netloc or url).rpartition("@")[2])


def _is_excepted(host: str) -> bool:
    variable = next((name for name in EXCEPTIONS if name in os.environ), None)
    entries = os.environ[variable].split(",") if variable else []
    return any(_covers(entry.strip(), host) for entry in entries if entry.strip())


def _covers(entry: str, host: str) -> bool:
    """Whether the entry is the end of the host's name, its address, or a network that holds it."""
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        return host.lower().endswith(entry.lower())
