"""The command line `antiphon-gateway`: its commands together."""

from __future__ import annotations

from antiphon.cli.command_line import group, run
from antiphon.cli.health import health_command
from antiphon.cli.settings_option import add_settings, check_settings
from antiphon_gateway.cli.serve import serve_command

commands = group("Let clients of other protocols talk to Antiphon's workers.", check_settings)
commands.add_command(serve_command)
commands.add_command(health_command)
add_settings(commands, "File of settings (TOML), whose keys are flags without their dashes; none where absent.")


def main() -> None:
    """Entry point of `antiphon-gateway`."""
    run(commands, "antiphon-gateway")
