"""What a conversation's trace is told: a span for each session, what happens in it, and where its frames' time went.

The conversation's name is the trace's id, so that all who carry it write into one trace without asking one another. The
second half of the name is the id of the trace's root, the span of the first session. `otlp` sends the spans; without
it nothing is kept.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from antiphon import __version__
from antiphon.address import split_address
from antiphon.errors import AntiphonError
from antiphon.tls import is_loopback

Fields = Mapping[str, str | float]

HOPS_EVERY = 750  # frames of one breakdown: a minute
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


class Span(Protocol):
    """One session's."""

    def event(self, name: str, fields: Fields) -> None:
        """Something happened, now."""

    def part(self, name: str, fields: Fields) -> None:
        """The time since the last part, or since the session began, as a span of its own."""

    def end(self, status: str, fields: Fields) -> None:
        """The session has ended, with a status of gRPC."""


class Traces(Protocol):
    """Where spans go."""

    hops_every: int
    """Frames after which a session says where their time went."""

    def begin(self, name: str, conversation: str, fields: Fields, *, first: bool) -> Span:
        """The span of a session that begins now.

        Args:
            name: what it is.
            conversation: 32 hexadecimal digits.
            fields: what is known of it.
            first: whether it is the root of the conversation's trace.
        """

    def close(self) -> None:
        """Sends what waits, for a moment; what cannot be sent is lost."""


class _NoSpan:
    def event(self, name: str, fields: Fields) -> None:
        pass

    def part(self, name: str, fields: Fields) -> None:
        pass

    def end(self, status: str, fields: Fields) -> None:
        pass


class _NoTraces:
    hops_every = HOPS_EVERY

    def begin(self, name: str, conversation: str, fields: Fields, *, first: bool) -> Span:
        return _NoSpan()

    def close(self) -> None:
        pass


NO_TRACES: Traces = _NoTraces()
"""Keeps nothing."""


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
