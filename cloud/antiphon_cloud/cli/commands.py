"""The command line `antiphon-cloud`: all commands, and the entry point."""

from __future__ import annotations

import os

from antiphon.cli.command_line import group, run
from antiphon.cli.health import health_command
from antiphon.cli.settings_option import add_settings, check_settings
from antiphon_cloud.cli.export_codec import export_codec_command
from antiphon_cloud.cli.keys import list_keys_command, make_key_command, revoke_key_command
from antiphon_cloud.cli.plan import plan_command
from antiphon_cloud.cli.replay import replay_command
from antiphon_cloud.cli.serve import serve_command
from antiphon_cloud.cli.top import top_command
from antiphon_cloud.engine.host import ENVIRONMENT

commands = group("Run and prepare workers for full-duplex speech models.", check_settings)
for command in (
    serve_command,
    export_codec_command,
    replay_command,
    make_key_command,
    list_keys_command,
    revoke_key_command,
    plan_command,
    top_command,
    health_command,
):
    commands.add_command(command)
add_settings(commands, "File of settings (TOML), whose keys are flags without their dashes; none where absent.")


def main() -> None:
    """Entry point of `antiphon-cloud`."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)  # before any command imports torch
    run(commands, "antiphon-cloud")
