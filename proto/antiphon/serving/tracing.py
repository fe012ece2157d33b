"""What a conversation's trace is told: a span for each session, what happens in it, and where its frames' time went.

The conversation's name is the trace's id, so that all who carry it write into one trace without asking one another. The
second half of the name is the id of the trace's root, the span of the first session. `otlp` sends the spans; without
it nothing is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

Fields = Mapping[str, str | float]

HOPS_EVERY = 750  # frames of one breakdown: a minute


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
