"""What a device tells its owner amid a conversation: it is lost, back, another one, or silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from antiphon_edge.audio.devices import WORDS, Direction

State = Literal["lost", "back", "moved", "silent", "heard"]


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """A change of the microphone or the speaker; as text it is a sentence for the person."""

    direction: Direction
    state: State
    device: str
    """Its name; after a move that of the new one."""
    reason: str = ""
    """Why it is lost."""
    after_s: float = 0.0
    """How long it was lost, or has been silent."""

    def __str__(self) -> str:
        what = f"the {WORDS[self.direction]}"
        match self.state:
            case "lost":
                then = "the model hears silence" if self.direction == "input" else "nothing is heard"
                return f"{what} {self.device!r} is lost ({self.reason}): {then} until it is back"
            case "back":
                return f"{what} {self.device!r} is back after {self.after_s:.1f} s"
            case "moved":
                return f"{what} is now {self.device!r}"
            case "silent":
                return (
                    f"{what} {self.device!r} has sent nothing but zeros for {self.after_s:.0f} s: "
                    "is it muted, or its switch off?"
                )
            case "heard":
                return f"{what} {self.device!r} is heard again"


OnDeviceChange = Callable[[DeviceChange], None]


def ignore(change: DeviceChange) -> None:
    """For owners who do not want to know."""
