"""The flags that say who gets in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from antiphon.cli.command_line import Number, option
from antiphon.cli.durations import Duration
from antiphon.cli.token_options import token_options

if TYPE_CHECKING:
    from antiphon.serving.tokens import TokenRules
    from antiphon_gateway.access.admission import Limits

F = TypeVar("F", bound=Callable[..., Any])

LIMITS = ("client_calls", "client_requests_per_minute", "max_session_s")  # parameters that `Limits` holds

_options = (
    option(
        "--api-keys",
        type=click.Path(path_type=Path),
        help="Let in only who presents a key of this file (antiphon-cloud make-key makes one), or a token made with "
        "one; read again when it changes, and on SIGHUP. Everyone where absent.",
    ),
    option(
        "--allow-origin",
        "origins",
        multiple=True,
        metavar="ORIGIN",
        help="A site whose pages may connect, such as https://example.org, or * for all; may be repeated. Only pages "
        "of this gateway's own address where absent.",
    ),
    option(
        "--client-calls",
        type=click.IntRange(1),
        help="Calls at once of one client: of a key, else an address; all of them where absent.",
    ),
    option(
        "--client-requests-per-minute",
        type=Number(0, min_open=True),
        default=600.0,
        help="Requests that one address may make in a minute.",
    ),
    option(
        "--max-session",
        "max_session_s",
        type=Duration(),
        metavar="DURATION",
        help="How long a call may last, such as 8h; for ever where absent.",
    ),
    option(
        "--token-secret-file",
        type=click.Path(path_type=Path),
        help="File of 32 bytes or more that signs tokens, for gateways that take each other's; one of this process "
        "where absent.",
    ),
)


def access_options(command: F) -> F:
    """Adds the flags, and hands the command `access`."""

    @wraps(command)
    def with_access(
        *args: Any,
        api_keys: Path | None,
        origins: tuple[str, ...],
        token_secret_file: Path | None,
        token_rules: TokenRules | None,
        **kwargs: Any,
    ) -> Any:
        from antiphon_gateway.access.admission import Rules  # importing takes time, and --help needs none
        from antiphon_gateway.access.tokens import read_secret

        secret = read_secret(token_secret_file) if token_secret_file else None
        limits = limits_of({name: kwargs.pop(name) for name in LIMITS})
        access = Rules(api_keys, origins, limits, secret, token_rules)
        return command(*args, access=access, **kwargs)

    decorated: Any = token_options(with_access)
    for each in reversed(_options):
        decorated = each(decorated)
    return decorated  # type: ignore[no-any-return]


def limits_of(values: Mapping[str, Any]) -> Limits:
    """What a client may have, by the values of the parameters `LIMITS`."""
    from antiphon_gateway.access.admission import Limits

    return Limits(*(values[name] for name in LIMITS))
