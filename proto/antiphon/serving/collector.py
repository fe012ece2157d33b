"""The collector that an operator wants spans to go to."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from antiphon import __version__
from antiphon.address import split_address
from antiphon.errors import AntiphonError
from antiphon.serving.tracing import HOPS_EVERY, NO_TRACES, Traces
from antiphon.tls import is_loopback

PLAINTEXT, TLS = "http://", "https://"


@dataclass(frozen=True, slots=True)
class Tracing:
    """Where spans go, and how many there are.

    Args:
        collector: HOST:PORT of OTLP by gRPC, on this machine; of another one with `https://` before it, or with
            `http://` on a network that is trusted.
        hops_every: frames after which a session says where their time went.
    """

    collector: str
    hops_every: int = HOPS_EVERY

    @property
    def endpoint(self) -> str:
        """The collector's URL.

        Raises:
            ArgumentError: it is no address.
            AntiphonError: it is another machine, and nothing is said about plaintext.
        """
        scheme = next((scheme for scheme in (PLAINTEXT, TLS) if self.collector.startswith(scheme)), "")
        address = self.collector.removeprefix(scheme)
        split_address(address)
        if not scheme and not is_loopback(address):
            raise AntiphonError(
                f"{address} is another machine: give https://{address}, or http://{address} on a network that you trust"
            )
        return (scheme or PLAINTEXT) + address


def open_traces(tracing: Tracing | None, service: str, listen: str) -> Traces:
    """Where the spans of a process go.

    Args:
        tracing: as its operator wants it; None for nowhere.
        service: what the process is.
        listen: HOST:PORT, which tells it from others on its machine.

    Raises:
        AntiphonError: OpenTelemetry is not installed, or the collector's address cannot be used.
    """
    if tracing is None:
        return NO_TRACES
    endpoint = tracing.endpoint
    try:
        from antiphon.serving.otlp import OtlpTraces
    except ModuleNotFoundError as error:
        if str(error.name).startswith("antiphon"):
            raise
        raise AntiphonError(f"--otlp: {error.name} is not installed: pip install 'antiphon[otlp]'") from None
    host = socket.gethostname()
    about = {
        "service.name": service,
        "service.version": __version__,
        "service.instance.id": f"{host}:{split_address(listen)[1]}",
        "host.name": host,
    }
    return OtlpTraces(endpoint, about, tracing.hops_every)
