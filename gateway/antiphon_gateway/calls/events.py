"""What a call tells its door."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.errors import AntiphonError
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.client.events import Change, Reply


@dataclass(frozen=True, slots=True)
class Frame:
    """What the model did in one step."""

    reply: Reply
    """As the SDK has it: text and token, the probability of a pause, the given word that begins, if all is said."""
    pcm: Pcm | None
    """Its sound [N] at the caller's rate, from which a resampler may hold a little back; None where it made none."""
    data: bytes = b""
    """The same as `Manner.pack` makes it."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The session looks for another worker, or has found one."""

    change: Change


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event: the call is over, with an error or well."""

    error: AntiphonError | None = None


Event = Frame | Moved | Ended
