"""What SIGHUP brings to a worker that was started with nothing: what it had."""

from __future__ import annotations

import click

from antiphon.cli.settings_option import Reread
from antiphon_cloud.cli.commands import commands
from antiphon_cloud.cli.exposure_options import LIMITS, allowance_of
from antiphon_cloud.cli.serve import serve_command


def test_limits_that_were_never_given_are_the_same_after_a_reload() -> None:
    with click.Context(commands, info_name="antiphon-cloud") as root:
        started = serve_command.make_context("serve", [], parent=root)
        again = Reread(started, LIMITS)()
    assert allowance_of(again) == allowance_of(started.params)
