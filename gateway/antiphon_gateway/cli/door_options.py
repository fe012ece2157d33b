"""The flags of the doors that stand beside the gateway's own port, or need an account."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from antiphon.cli.command_line import Address, option
from antiphon.errors import ArgumentError

F = TypeVar("F", bound=Callable[..., Any])

TOKEN_VARIABLE = "ANTIPHON_TWILIO_AUTH_TOKEN"  # noqa: S105 - its name

_options = (
    option(
        "--twilio-url",
        metavar="WSS_URL",
        help="Take telephone calls of Twilio's: the URL of <Stream> in their TwiML, as Twilio reaches it.",
    ),
    option(
        "--twilio-token-file",
        type=click.Path(path_type=Path),
        help=f"File that holds the Twilio account's auth token; {TOKEN_VARIABLE} may hold the token itself.",
    ),
    option(
        "--audiosocket",
        "audiosocket",
        type=Address(),
        metavar="HOST:PORT",
        help="Take telephone calls of Asterisk's AudioSocket at this address; nowhere where absent.",
    ),
    option(
        "--wyoming",
        "wyoming",
        type=Address(),
        metavar="HOST:PORT",
        help="Serve Wyoming (Home Assistant) at this address: speech to text and text to speech; nowhere where absent.",
    ),
    option(
        "--language",
        "languages",
        multiple=True,
        default=("en",),
        metavar="CODE",
        help="What Wyoming's clients are told that the models know; may be given several times.",
    ),
)


def door_options(command: F) -> F:
    """Adds the flags, and hands the command `doors`."""

    @wraps(command)
    def with_doors(
        *args: Any,
        twilio_url: str | None,
        twilio_token_file: Path | None,
        audiosocket: str | None,
        wyoming: str | None,
        languages: tuple[str, ...],
        **kwargs: Any,
    ) -> Any:
        from antiphon_gateway.doors.telephony.twilio import TwilioAccount
        from antiphon_gateway.server.config import Doors

        account = None
        if twilio_url is not None:
            if (token := _token(twilio_token_file)) is None:
                raise click.UsageError(f"--twilio-url needs --twilio-token-file, or {TOKEN_VARIABLE}: calls are signed")
            try:
                account = TwilioAccount(twilio_url, token)
            except ArgumentError as error:
                raise click.UsageError(f"--twilio-url: {error}") from None
        elif twilio_token_file is not None:
            raise click.UsageError("--twilio-token-file needs --twilio-url: the URL is what Twilio signs")
        return command(*args, doors=Doors(account, audiosocket, wyoming, languages), **kwargs)

    decorated: Any = with_doors
    for each in reversed(_options):
        decorated = each(decorated)
    return decorated  # type: ignore[no-any-return]


def _token(file: Path | None) -> str | None:
    """The token of the file, else of the environment: a flag would show it in the list of processes."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip() or None
    try:
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise click.UsageError(f"--twilio-token-file: {file} cannot be read: {reason}") from None
    if not token:
        raise click.UsageError(f"--twilio-token-file: {file} holds no token: put there what Twilio's console shows")
    return token
