"""`antiphon-edge doctor`: whether this device keeps up with a conversation."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import click

from antiphon.cli.command_line import option
from antiphon_edge.cli.codec_options import pulled_codec_option, threads_option
from antiphon_edge.cli.connection_options import connection_options
from antiphon_edge.cli.pull_options import Pulling, pull_options
from antiphon_edge.doctor.report import DEFAULT_SECONDS, examine, format_report
from antiphon_edge.transport.credentials import Credentials


@click.command("doctor")
@connection_options
@pull_options
@pulled_codec_option
@threads_option
@option(
    "--seconds",
    type=click.IntRange(1, 3600),
    default=DEFAULT_SECONDS,
    help="How long to encode and decode, in seconds.",
)
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_context
def doctor_command(
    context: click.Context,
    server: str,
    credentials: Credentials,
    pulling: Pulling,
    codec_folder: Path | None,
    threads: int,
    seconds: int,
    as_json: bool,
) -> None:
    """Measure whether this device keeps up with a conversation; exit status 0 if it does, 1 if not."""
    report = examine(codec_folder or asyncio.run(pulling.pull(server, credentials)), threads, seconds)
    click.echo(json.dumps(asdict(report), indent=1) if as_json else format_report(report))
    context.exit(0 if report.keeps_up else 1)
