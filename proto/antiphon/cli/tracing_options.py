"""The flags of both servers' traces."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from antiphon.cli.command_line import option
from antiphon.serving.collector import Tracing
from antiphon.serving.tracing import HOPS_EVERY

F = TypeVar("F", bound=Callable[..., Any])


def tracing_options(command: F) -> F:
    """Adds the flags, and passes the command `tracing`; None where no spans are wanted."""

    @option(
        "--otlp",
        metavar="[https://]HOST:PORT",
        help="OpenTelemetry collector (OTLP by gRPC; the extra `otlp`) that is sent a span of each session, and where "
        "the time of its frames went; none where absent. Another machine's needs https://, or http:// on a network "
        "that you trust.",
    )
    @option(
        "--otlp-every",
        type=click.IntRange(1),
        default=HOPS_EVERY,
        help="Frames after which a session says where their time went.",
    )
    @wraps(command)
    def with_tracing(*args: Any, otlp: str | None, otlp_every: int, **kwargs: Any) -> Any:
        tracing = None if otlp is None else Tracing(otlp, otlp_every)
        if tracing is not None:
            _ = tracing.endpoint  # a bad address ends the command before anything is loaded
        return command(*args, tracing=tracing, **kwargs)

    return with_tracing  # type: ignore[return-value]
