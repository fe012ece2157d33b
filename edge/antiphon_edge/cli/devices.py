"""`antiphon-edge devices`: the microphones and speakers of this machine."""

from __future__ import annotations

import click

from antiphon_edge.audio.portaudio import list_devices
from antiphon_edge.errors import AudioDeviceError


@click.command("devices")
def devices_command() -> None:
    """List the microphones and speakers that talk can use."""
    found = list_devices()
    if not found:
        raise AudioDeviceError("there is no microphone and no speaker here: connect one, or talk with wav files")
    for device in found:
        click.echo(str(device))
