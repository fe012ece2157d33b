"""The command line `antiphon-cloud`: all commands, and the entry point."""

from __future__ import annotations

import os

from antiphon.cli.command_line import group, run
from antiphon.cli.health import health_command
from antiphon_cloud.cli.export_codec import export_codec_command
from antiphon_cloud.cli.make_key import make_key_command
from antiphon_cloud.cli.plan import plan_command
from antiphon_cloud.cli.replay import replay_command
from antiphon_cloud.cli.serve import serve_command
from antiphon_cloud.engine.host import ENVIRONMENT

commands = group("Run and prepare workers for full-duplex speech models.")
for command in (serve_command, export_codec_command, replay_command, make_key_command, plan_command, health_command):
    commands.add_command(command)


def main() -> None:
    """Entry point of `antiphon-cloud`."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)  # before any command imports torch
    run(commands, "antiphon-cloud")
