"""How long a session may last: as long as any may here, and no longer than its client's key or token.

The age of a session is that of its history, so that one that goes on at another worker is not young again. Without I/O.
"""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.errors import AntiphonError, PreconditionError, UnauthenticatedError
from antiphon_cloud.sessions.clients import Client
from antiphon_cloud.timing import FRAME_S


@dataclass(frozen=True, slots=True)
class End:
    """A session's end."""

    in_s: float
    """From now on."""
    error: AntiphonError
    """That the session ends with; no worker takes it on, so that it is none that another attempt might not meet."""


def end_of(client: Client, steps: int, begun_s: float, wall_s: float) -> End | None:
    """When a session has to end; None where it may go on for ever.

    Args:
        client: whose session it is.
        steps: of its history, as this worker's first call brought it.
        begun_s: seconds since then.
        wall_s: seconds since 1970.
    """
    ends: list[End] = []
    longest_s = client.allowance.longest_s
    if longest_s is not None:
        error: AntiphonError = PreconditionError(
            f"this session has lasted {longest_s:g} s, as long as one may here: open a new one"
        )
        ends.append(End(longest_s - steps * FRAME_S - begun_s, error))
    if client.expires_s is not None:
        error = UnauthenticatedError(f"{client.name} has expired, and its session with it: open a new one with another")
        ends.append(End(client.expires_s - wall_s, error))
    return min(ends, key=lambda end: end.in_s, default=None)
