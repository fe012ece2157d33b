"""`make-key`: adds an API key's hash to the file of keys."""

from __future__ import annotations

from pathlib import Path

import click

from antiphon.cli.command_line import Number, different_files, option


@click.command("make-key")
@click.argument("name")
@option(
    "--api-keys",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    help="File of keys to add it to; made where there is none.",
)
@option("--sessions", type=click.IntRange(1), help="Sessions at once; what the worker gives every client where absent.")
@option(
    "--opens-per-minute",
    type=Number(0, min_open=True),
    help="Sessions opened in a minute; what the worker gives every client where absent.",
)
@option(
    "--out",
    type=click.Path(path_type=Path),
    help="File to write the key to, which only you may read; it must not exist. The key is printed where absent.",
)
def make_key_command(
    name: str, path: Path, sessions: int | None, opens_per_minute: float | None, out: Path | None
) -> None:
    """Make an API key called NAME; the file of keys keeps its hash, so this is the only time it is seen."""
    from antiphon.serving.key_file import make_key, save_key

    if out is None:
        click.echo(make_key(path, name, sessions, opens_per_minute))
    else:
        different_files(path, out)
        save_key(out, path, name, sessions=sessions, opens_per_minute=opens_per_minute)
