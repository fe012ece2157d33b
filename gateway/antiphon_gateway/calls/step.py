"""A frame's work: alone, or together with frames of other calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from antiphon.errors import AntiphonError
from antiphon_edge.codec.stream import Stream
from antiphon_gateway.batch.half import BatchHalf

T = TypeVar("T", covariant=True)
Value = TypeVar("Value", contravariant=True)
Made = TypeVar("Made", covariant=True)


class Coder(Protocol[Value, Made]):
    """An encoder or a decoder."""

    stream: Stream

    def step(self, value: Value, /) -> Made:
        """What comes of a frame: `put`, the stream's `advance`, `take`."""

    def put(self, value: Value, /) -> None:
        """Gives the stream its next frame."""

    def take(self) -> Made:
        """What comes of the frame that the stream has advanced by."""


@dataclass(frozen=True, slots=True, eq=False)
class Step(Generic[T]):
    """One frame of one stream.

    Args:
        coder: of the stream.
        value: the frame.
        then: makes the result of what the coder made.
        batch: may step the stream together with others; None for never.
    """

    coder: Coder[Any, Any]
    value: Any
    then: Callable[[Any], T]
    batch: BatchHalf | None = None

    def alone(self) -> T:
        """The result; errors as the coder's."""
        return self.then(self.coder.step(self.value))


def step_together(batch: BatchHalf, steps: Sequence[Step[Any]]) -> list[Any | Exception]:
    """The results, or errors, of steps of one batch."""
    results: list[Any | Exception] = [None] * len(steps)
    ready: list[int] = []
    for place, step in enumerate(steps):
        try:
            step.coder.put(step.value)
            ready.append(place)
        except AntiphonError as error:  # one caller's frame is no frame: the others' are stepped
            results[place] = error
    try:
        batch.advance([steps[place].coder.stream for place in ready])
        for place in ready:
            results[place] = steps[place].then(steps[place].coder.take())
    except Exception as error:  # noqa: BLE001 -- of whoever waits for the results
        return [error] * len(steps)
    return results
