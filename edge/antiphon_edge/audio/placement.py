"""Where the sound server has connected our stream, and whether it belongs there.

PulseAudio and PipeWire move a stream whose device goes away to another one. To a microphone's stream that may be the
monitor of the speaker: the model would hear itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from antiphon_edge.audio import sound_server
from antiphon_edge.audio.devices import Direction
from antiphon_edge.audio.sound_server import Endpoint


@dataclass(frozen=True, slots=True)
class Place:
    """The device that a stream is connected to."""

    name: str
    """The server's."""
    device: str
    """What people call it."""
    misled: bool
    """It is the monitor of the speaker, and nobody has asked for it."""


class Placement:
    """Looks where one stream of this process is, and has it brought home where its device is back. Asks the server's
    client, which takes 10 ms: for a thread.

    Args:
        direction: of the stream.
        chosen: the server's name of the device that the person chose; None where the server chooses.
    """

    def __init__(self, direction: Direction, chosen: str | None) -> None:
        self._direction = direction
        self._chosen = chosen or sound_server.chosen_by_hand(direction)
        self._home = self._chosen  # where the stream was at first

    def look(self) -> Place | None:
        """Where the stream is now; None where no server knows of it."""
        at = sound_server.attached(self._direction)
        if at is None:
            return None
        misled = self._is_misled(at)
        if self._home is None and not misled:
            self._home = at.name
        if self._home not in (None, at.name) and (misled or self._chosen):
            names = [endpoint.name for endpoint in sound_server.endpoints(self._direction)]
            if self._home in names:
                sound_server.move(self._direction, self._home)
                at = sound_server.attached(self._direction) or at
                misled = self._is_misled(at)
        return Place(at.name, at.description, misled)

    def _is_misled(self, at: Endpoint) -> bool:
        return self._direction == "input" and at.name != self._chosen and sound_server.hears_the_speaker(at)
