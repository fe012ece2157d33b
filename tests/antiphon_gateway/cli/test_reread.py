"""What SIGHUP brings to a gateway that was started with nothing: what it had."""

from __future__ import annotations

import click

from antiphon.cli.settings_option import Reread
from antiphon_gateway.cli.access_options import LIMITS, limits_of
from antiphon_gateway.cli.commands import commands
from antiphon_gateway.cli.serve import serve_command


def test_limits_that_were_never_given_are_the_same_after_a_reload() -> None:
    with click.Context(commands, info_name="antiphon-gateway") as root:
        started = serve_command.make_context("serve", ["--server", "localhost:1"], parent=root)
        again = Reread(started, LIMITS)()
    assert limits_of(again) == limits_of(started.params)
