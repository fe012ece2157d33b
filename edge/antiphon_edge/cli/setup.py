"""`antiphon-edge setup`: asks what a device needs to know, tries it, and writes the file of settings."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import click
from click.core import ParameterSource

from antiphon.cli.command_line import Address, option
from antiphon_edge.cli.connection_options import connection_options
from antiphon_edge.cli.questions import Answers, ask_sound, ask_worker
from antiphon_edge.cli.settings_option import API_KEY, settings_of
from antiphon_edge.cli.sound_options import volume_option
from antiphon_edge.settings.edit import Value, write_settings
from antiphon_edge.transport.credentials import Credentials

_FILES = ("ca", "client_cert", "client_key")


@click.command("setup")
@connection_options
@option("--input-device", metavar="INDEX|NAME", help="Microphone; the system's default where absent.")
@option("--output-device", metavar="INDEX|NAME", help="Speaker; the system's default where absent.")
@volume_option
@option("--transcriber", type=Address(), metavar="HOST:PORT", help="Worker that writes down what you say.")
@option("--no-sound", is_flag=True, help="Leave out the spoken test, which plays a sentence and listens.")
@click.pass_context
def setup_command(
    context: click.Context,
    server: str,
    credentials: Credentials,
    input_device: str | None,
    output_device: str | None,
    volume: float,
    transcriber: str | None,
    no_sound: bool,
) -> None:
    """Ask for microphone, speaker, worker and API key, try them, and write the file that all commands read.

    What a flag or its variable says is not asked. Where standard input is no terminal, nothing is: flags are written,
    and the rest of the file stays. Another run begins with the answers of the last one.
    """
    settings = settings_of(context)
    given = {name for name in context.params if _is_given(context, name)}
    answers = Answers(input_device, output_device, volume, server, credentials, transcriber)
    asks = _is_terminal()
    if asks:
        click.echo(f"The answers go to {settings.path}. Enter takes what stands in brackets.")
        try:
            ask_sound(answers, given, test=not no_sound)
            ask_worker(answers, given)
        except click.Abort:  # amid a line
            click.echo()
            raise
    changes = _changes(answers, given, everything=asks)
    if server != settings.values.get("server", server) and API_KEY in settings.values and not asks:
        changes |= {API_KEY: credentials.api_key}  # the old one is the other worker's
    write_settings(settings, changes)
    click.echo(f"{settings.path} is written. Next: antiphon-edge talk; antiphon-edge doctor says what is to mend.")


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


def _changes(answers: Answers, given: set[str], *, everything: bool) -> dict[str, Value | None]:
    """What the answers change in the file: what was asked or given, and the key wherever it came from."""
    credentials = answers.credentials
    values: dict[str, Value | None] = {
        "input_device": answers.input_device,
        "output_device": answers.output_device,
        "volume": _short(answers.volume),
        "server": answers.server,
        "tls": credentials.tls or None,
        "insecure": credentials.insecure or None,
        "transcriber": answers.transcriber,
    }
    changes = {name.replace("_", "-"): value for name, value in values.items() if everything or name in given}
    for name in _FILES:
        file: Path | None = getattr(credentials, name)
        if name in given and file is not None:
            changes[f"tls-{name.replace('_', '-')}"] = str(file.absolute())
    if any(name in given for name in _FILES):
        changes["tls"] = True
    if credentials.api_key is not None or everything:  # kept in this file alone, which a service may read
        changes |= {API_KEY: credentials.api_key, "api-key-file": None}
    return changes


def _short(number: float) -> Value:
    return int(number) if number == int(number) else number


def _is_terminal() -> bool:
    with suppress(AttributeError, ValueError):  # the caller closed one
        return sys.stdin.isatty()
    return False
