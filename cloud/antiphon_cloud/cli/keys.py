"""`make-key`, `list-keys` and `revoke-key`: the file of API keys."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import click

from antiphon.cli.command_line import Number, different_files, option
from antiphon.cli.durations import Moment

keys_option = option(
    "--api-keys", "path", type=click.Path(path_type=Path), required=True, help="File of keys, as servers read it."
)


@click.command("make-key")
@click.argument("name")
@keys_option
@option("--sessions", type=click.IntRange(1), help="Sessions at once; what the worker gives every client where absent.")
@option(
    "--opens-per-minute",
    type=Number(0, min_open=True),
    help="Sessions opened in a minute; what the worker gives every client where absent.",
)
@option(
    "--expires",
    type=Moment(),
    metavar="DATE|DURATION",
    help="When the name's keys end: 2027-01-01, or 90d from now; never where absent.",
)
@option("--another", is_flag=True, help="Give a name another key: its old ones stay until revoke-key takes them out.")
@option(
    "--out",
    type=click.Path(path_type=Path),
    help="File to write the key to, which only you may read; it must not exist. The key is printed where absent.",
)
def make_key_command(
    name: str,
    path: Path,
    sessions: int | None,
    opens_per_minute: float | None,
    expires: datetime | None,
    another: bool,
    out: Path | None,
) -> None:
    """Make an API key called NAME; the file of keys keeps its hash, so this is the only time it is seen."""
    from antiphon.serving.key_edit import make_key, save_key

    if out is None:
        click.echo(make_key(path, name, sessions, opens_per_minute, expires, another=another))
    else:
        different_files(path, out)
        save_key(out, path, name, sessions, opens_per_minute, expires, another=another)


@click.command("list-keys")
@keys_option
def list_keys_command(path: Path) -> None:
    """List the names in a file of keys: beginnings of their keys' hashes, what they may have, and until when."""
    from antiphon.serving.key_edit import HASH_SHOWN
    from antiphon.serving.key_file import read_key_file

    for name, entry in read_key_file(path).items():
        facts = [" ".join(each[:HASH_SHOWN] for each in entry.hashes)]
        if entry.sessions is not None:
            facts.append(f"sessions {entry.sessions}")
        if entry.opens_per_minute is not None:
            facts.append(f"opens a minute {entry.opens_per_minute:g}")
        if entry.expires is not None:
            over = entry.expires.timestamp() <= time.time()
            until = entry.expires.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
            facts.append(f"{'expired' if over else 'expires'} {until}")
        click.echo(f"{name}: {', '.join(facts)}")


@click.command("revoke-key")
@click.argument("name")
@keys_option
@option("--sha256", "prefix", help="Beginning of the hash of the one key to take out; all keys of NAME where absent.")
def revoke_key_command(name: str, path: Path, prefix: str | None) -> None:
    """Take the keys of NAME out of a file of keys, or one of them: they open nothing from then on."""
    from antiphon.serving.key_edit import revoke_key

    count = revoke_key(path, name, prefix)
    click.echo(f"{name}: {count} {'key' if count == 1 else 'keys'} taken out")
