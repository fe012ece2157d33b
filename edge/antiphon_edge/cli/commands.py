"""The command line `antiphon-edge`: its commands together."""

from __future__ import annotations

from antiphon.cli.command_line import group, run
from antiphon_edge.cli.ask import ask_command
from antiphon_edge.cli.codec import decode_command, encode_command
from antiphon_edge.cli.devices import devices_command
from antiphon_edge.cli.doctor import doctor_command
from antiphon_edge.cli.pull import pull_command
from antiphon_edge.cli.recordings import replay_recording_command
from antiphon_edge.cli.speak import speak_command
from antiphon_edge.cli.talk import talk_command
from antiphon_edge.cli.transcribe import transcribe_command
from antiphon_edge.cli.voices import voices_command

commands = group("Talk to a full-duplex speech model through an Antiphon worker.")
for command in (
    ask_command,
    decode_command,
    devices_command,
    doctor_command,
    encode_command,
    pull_command,
    replay_recording_command,
    speak_command,
    talk_command,
    transcribe_command,
    voices_command,
):
    commands.add_command(command)


def main() -> None:
    """Entry point of `antiphon-edge`."""
    run(commands, "antiphon-edge")
