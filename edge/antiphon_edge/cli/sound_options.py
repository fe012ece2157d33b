"""The flag of every command that plays something: how loud."""

from __future__ import annotations

from antiphon.cli.command_line import Number, option
from antiphon_edge.audio.volume import FULL

volume_option = option(
    "--volume",
    type=Number(min=0, max=FULL),
    default=FULL,
    help="How loud the model is played, from 0 to 100, beside what the system's mixer says.",
)
