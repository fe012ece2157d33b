"""The flags of every command that may pull a codec, and the pull with its progress line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from tqdm import tqdm

from antiphon.cache_folder import cache_root
from antiphon.cli.command_line import Number, option
from antiphon_edge.codec.pull import TIMEOUT_S, pull_codec
from antiphon_edge.transport.credentials import Credentials

F = TypeVar("F", bound=Callable[..., Any])

_options = (
    option(
        "--cache",
        type=click.Path(path_type=Path),
        help="Where pulled codecs are kept; antiphon in the user's cache folder where absent.",
    ),
    option(
        "--pull-timeout",
        "timeout_s",
        type=Number(min=0, min_open=True),
        default=TIMEOUT_S,
        help="How long the codec may take to come, in seconds.",
    ),
)


@dataclass(frozen=True, slots=True)
class Pulling:
    """Where to keep a pulled codec, and how long it may take."""

    cache: Path | None
    timeout_s: float

    async def pull(
        self, server: str, credentials: Credentials, *, keep: bool = False, encoder_only: bool = False
    ) -> Path:
        """The folder of the codec that `server` serves; a progress line on a terminal says how far it is.

        Args:
            server: HOST:PORT.
            credentials: TLS and API key.
            keep: it must outlast this process: a cache that cannot be written is an error.
            encoder_only: as `pull_codec`.

        Raises:
            AntiphonError: as `pull_codec`.
            UsageError: there is nowhere to keep it.
        """
        cache = self.cache or (cache_root() if keep else None)
        if keep and cache is None:
            raise click.UsageError("there is no home folder to keep the codec in: name a folder with --cache")
        with tqdm(desc="codec", unit="B", unit_scale=True, disable=None, leave=False) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            return await pull_codec(server, cache, progress, credentials, self.timeout_s, encoder_only=encoder_only)


def pull_options(command: F) -> F:
    """Adds the flags, and hands the command `pulling`."""

    @wraps(command)
    def with_pulling(*args: Any, cache: Path | None, timeout_s: float, **kwargs: Any) -> Any:
        return command(*args, pulling=Pulling(cache, timeout_s), **kwargs)

    decorated: Any = with_pulling
    for each in reversed(_options):
        decorated = each(decorated)
    return decorated  # type: ignore[no-any-return]
