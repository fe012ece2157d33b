"""`antiphon-edge pull`: the worker's codec, kept in the cache."""

from __future__ import annotations

import asyncio
import os

import click

from antiphon_edge.cli.connection_options import connection_options
from antiphon_edge.cli.pull_options import Pulling, pull_options
from antiphon_edge.codec.codec import Codec
from antiphon_edge.transport.credentials import Credentials


@click.command("pull")
@connection_options
@pull_options
def pull_command(server: str, credentials: Credentials, pulling: Pulling) -> None:
    """Fetch the worker's codec, check it, and print its folder."""
    folder = asyncio.run(pulling.pull(server, credentials, keep=True))
    Codec.load(folder)
    click.echo(os.fsencode(folder))  # whatever its bytes are
