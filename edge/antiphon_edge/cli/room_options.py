"""The flags of what is done to a microphone's signal, and the room that a talk is in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from antiphon.cli.command_line import option
from antiphon.spec import CodecSpec
from antiphon_edge.audio.echo.far_end import FarEnd
from antiphon_edge.audio.echo.processor import VoiceProcessing, VoiceProcessor
from antiphon_edge.errors import AudioDeviceError

F = TypeVar("F", bound=Callable[..., Any])

_options = (
    option("--headphones", is_flag=True, help="Cancel no echo: nothing of the speaker reaches the microphone."),
    option("--no-aec", is_flag=True, help="Cancel no echo: the system, or the device, does it."),
    option("--no-ns", is_flag=True, help="Leave the noise in what the microphone hears."),
    option("--agc/--no-agc", default=False, help="Raise a soft voice, and what is left of an echo with it."),
)


def room_options(command: F) -> F:
    """Adds the flags, and hands the command `processing`."""

    @wraps(command)
    def with_processing(*args: Any, headphones: bool, no_aec: bool, no_ns: bool, agc: bool, **kwargs: Any) -> Any:
        return command(*args, processing=VoiceProcessing(not (headphones or no_aec), not no_ns, agc), **kwargs)

    decorated: Any = with_processing
    for each in reversed(_options):
        decorated = each(decorated)
    return decorated  # type: ignore[no-any-return]


class Room:
    """Where the speaker of a talk is heard by its microphone, and what is done about it.

    Where that needs what is not installed, nothing is done, and a sentence says so.

    Args:
        processing: what is done.
        codec: whose frames are heard and played.
    """

    def __init__(self, processing: VoiceProcessing, codec: CodecSpec) -> None:
        self.far_end = FarEnd(codec.sample_rate_hz)
        self.canceller: VoiceProcessor | None = None
        if processing:
            try:
                self.canceller = VoiceProcessor(codec.sample_rate_hz, codec.frame_samples, processing)
            except AudioDeviceError as error:
                click.echo(f"antiphon-edge: {error}", err=True)
