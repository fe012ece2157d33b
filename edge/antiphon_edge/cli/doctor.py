"""`antiphon-edge doctor`: whether this device keeps up with a conversation."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import click
from click.core import ParameterSource

from antiphon.cli.command_line import option
from antiphon_edge.cli.codec_options import pulled_codec_option, threads_option
from antiphon_edge.cli.connection_options import connection_options
from antiphon_edge.cli.pull_options import Pulling, pull_options
from antiphon_edge.doctor.device import find_live_audio
from antiphon_edge.doctor.report import DEFAULT_SECONDS, examine, format_report
from antiphon_edge.doctor.sound_check import SoundCheck, check_sound
from antiphon_edge.doctor.worker import WorkerCheck, check_worker
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
@option("--input-device", metavar="INDEX|NAME", help="Microphone to try; the system's default where absent.")
@option("--output-device", metavar="INDEX|NAME", help="Speaker to try; the system's default where absent.")
@option("--no-sound", is_flag=True, help="Leave out the sound check, which plays soft noise and listens for its echo.")
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
    input_device: str | None,
    output_device: str | None,
    no_sound: bool,
    as_json: bool,
) -> None:
    """Measure whether this device keeps up with a conversation; exit status 0 if it does, 1 if not.

    The sound check plays 6 s of soft noise. The worker is asked too, unless --codec is given without a --server.
    """
    asked = codec_folder is None or context.get_parameter_source("server") is not ParameterSource.DEFAULT

    async def look() -> tuple[Path, SoundCheck | None, WorkerCheck | None]:
        folder = codec_folder or await pulling.pull(server, credentials)
        worker = await check_worker(server, credentials) if asked else None
        sound = None if no_sound or find_live_audio().missing else await check_sound(input_device, output_device)
        return folder, sound, worker

    folder, sound, worker = asyncio.run(look())
    report = examine(folder, threads, seconds, sound=sound, worker=worker)
    click.echo(json.dumps(asdict(report), indent=1) if as_json else format_report(report))
    context.exit(0 if report.keeps_up else 1)
