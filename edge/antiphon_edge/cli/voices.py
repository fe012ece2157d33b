"""`antiphon-edge voices`: the voices that a worker's model can begin a conversation with."""

from __future__ import annotations

import asyncio

import click

from antiphon_edge.cli.connection_options import connection_options
from antiphon_edge.cli.talk_io import say
from antiphon_edge.client.describe import describe
from antiphon_edge.transport.credentials import Credentials


@click.command("voices")
@connection_options
def voices_command(server: str, credentials: Credentials) -> None:
    """Print the names that `talk --voice` takes, one a line."""
    worker = asyncio.run(describe(server, credentials))
    for name in worker.voices:
        click.echo(name)
    if not worker.model.takes_voice:
        say(f"{worker.model.name} takes no voice")
    elif not worker.voices:
        say(f"the worker has no voices for {worker.model.name}: give one of your own with talk --voice-wav")
