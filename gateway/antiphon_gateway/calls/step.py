"""A frame's work: alone, or together with frames of other calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

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


def step_in_turn(steps: Sequence[Step[Any]]) -> list[Any | Exception]:
    """The results, or errors, of steps one by one: all coders first, while the caches hold their weights."""
    made = [attempt(step.coder.step, step.value) for step in steps]
    return [_then(step, each) for step, each in zip(steps, made, strict=True)]


def step_together(batch: BatchHalf, steps: Sequence[Step[Any]]) -> list[Any | Exception]:
    """The same in one run of a batch."""
    made: list[Any | Exception] = [attempt(step.coder.put, step.value) for step in steps]
    ready = [place for place, each in enumerate(made) if not isinstance(each, Exception)]
    failed = attempt(batch.advance, [steps[place].coder.stream for place in ready])
    for place in ready:
        made[place] = failed if isinstance(failed, Exception) else steps[place].coder.take()
    return [_then(step, each) for step, each in zip(steps, made, strict=True)]


def _then(step: Step[Any], made: Any | Exception) -> Any | Exception:
    return made if isinstance(made, Exception) else attempt(step.then, made)


def attempt(work: Callable[..., Any], *values: Any) -> Any | Exception:
    """What work makes, or the error that it raises."""
    try:
        return work(*values)
    except Exception as error:  # noqa: BLE001 -- of whoever waits for the result
        return error
