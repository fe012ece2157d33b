"""`antiphon-edge doctor`: whether this device keeps up with a conversation."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import click
from click.core import ParameterSource

from antiphon.cli.command_line import Address, in_flags, option
from antiphon.errors import AntiphonError
from antiphon_edge.cli.codec_options import pulled_codec_option, threads_option
from antiphon_edge.cli.connection_options import connection_options
from antiphon_edge.cli.pull_options import Pulling, pull_options
from antiphon_edge.doctor.device import find_device, find_live_audio
from antiphon_edge.doctor.report import DEFAULT_SECONDS, Surroundings, diagnose, format_report, measure
from antiphon_edge.doctor.sound_check import check_sound
from antiphon_edge.doctor.worker import WorkerCheck, check_worker
from antiphon_edge.errors import CodecFilesError
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
@option("--transcriber", type=Address(), metavar="HOST:PORT", help="Worker that writes down what you say, asked too.")
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
    transcriber: str | None,
    as_json: bool,
) -> None:
    """Measure whether this device keeps up with a conversation; exit status 0 if it does, 1 if not.

    The sound check plays 6 s of soft noise. The worker is asked too, unless --codec is given without a --server.
    """
    named = context.get_parameter_source("server") is not ParameterSource.DEFAULT
    asked = codec_folder is None or named

    async def look() -> tuple[Surroundings, Path | None, str | None]:
        """Device and worker, the codec's folder, and why there is none."""
        worker = await check_worker(server, credentials) if asked else None
        if worker is not None and worker.problem is not None and not named:
            worker = replace(worker, problem=f"{worker.problem}; antiphon-edge setup settles which worker it is")
        listening = None if transcriber is None else await check_worker(transcriber, credentials)
        live_audio = find_live_audio(input_device, output_device)
        tried = None if no_sound or live_audio.missing else await check_sound(input_device, output_device)
        around = Surroundings(find_device(), live_audio, tried, worker, listening)
        if codec_folder is not None or (worker is not None and worker.problem is not None):
            return around, codec_folder, None
        try:
            return around, await pulling.pull(server, credentials), None
        except AntiphonError as error:
            return around, None, in_flags(str(error), context.command)

    around, folder, problem = asyncio.run(look())
    speed = None
    try:
        speed = None if folder is None else measure(folder, threads, seconds)
    except CodecFilesError as error:
        problem = str(error)
    report = diagnose(in_own_flags(around, context.command), speed, problem)
    click.echo(json.dumps(report.as_fields(), indent=1) if as_json else format_report(report))
    context.exit(0 if report.keeps_up else 1)


def in_own_flags(around: Surroundings, command: click.Command) -> Surroundings:
    """The same, its problems with the names of flags for those of arguments."""

    def told(worker: WorkerCheck | None) -> WorkerCheck | None:
        if worker is None or worker.problem is None:
            return worker
        return replace(worker, problem=in_flags(worker.problem, command))

    return replace(around, worker=told(around.worker), transcriber=told(around.transcriber))
