"""How a server is, in a few numbers: what `antiphon-cloud top` and the page on the operators' port show."""

from __future__ import annotations

from typing import Literal

import msgspec

from antiphon import __version__

State = Literal["starting", "serving", "draining", "failed"]


class Status(msgspec.Struct, frozen=True):
    """A worker, or a gateway, now. A field that a reader does not know is passed over."""

    kind: Literal["worker", "gateway"]
    state: State
    version: str = __version__
    model: str = ""
    """Empty until it is known."""
    sessions: int = 0
    slots: int = 0
    """Sessions at once at the most."""
    step_p50_ms: float = 0.0
    """Of the last steps; 0 before the first, and for a gateway, which takes none."""
    step_p99_ms: float = 0.0
    frames: int = 0
    """Answered since the start."""
    late: int = 0
    """Of those, later than a frame lasts."""
    refused: int = 0
    """Calls since the start that were not let in."""


def encode(status: Status) -> bytes:
    """As `/status.json` has it."""
    return msgspec.json.encode(status)


def decode(data: bytes) -> Status:
    """What `/status.json` says.

    Raises:
        ValueError: it is something else.
    """
    return msgspec.json.decode(data, type=Status)
