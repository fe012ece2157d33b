"""The flags that let in whoever brings a token of an issuer."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from antiphon.cli.command_line import option
from antiphon.errors import ArgumentError

F = TypeVar("F", bound=Callable[..., Any])

_options = (
    option(
        "--jwt-keys",
        metavar="FILE|HTTPS_URL",
        help="Let in who presents a JSON Web Token (RS256, ES256, EdDSA) signed with a key of this JSON Web Key Set; "
        "beside --api-keys, where there are any. None where absent.",
    ),
    option("--jwt-audience", help="Audience (`aud`) that a token must have; needed where there is --jwt-keys."),
    option("--jwt-issuer", help="Issuer (`iss`) that a token must have; needed where there is --jwt-keys."),
)


def token_options(command: F) -> F:
    """Adds the flags, and hands the command `token_rules`; None for no tokens."""

    @wraps(command)
    def with_tokens(
        *args: Any, jwt_keys: str | None, jwt_audience: str | None, jwt_issuer: str | None, **kwargs: Any
    ) -> Any:
        rules = None
        if jwt_keys or jwt_audience or jwt_issuer:
            if not (jwt_keys and jwt_audience and jwt_issuer):
                raise click.UsageError("--jwt-keys, --jwt-audience and --jwt-issuer belong together: give all three")
            try:
                from antiphon.serving.tokens import TokenRules
            except ModuleNotFoundError as error:
                raise ArgumentError(f"{error.name} is not installed: pip install 'antiphon[jwt]'") from None
            rules = TokenRules(jwt_keys, jwt_audience, jwt_issuer)
        return command(*args, token_rules=rules, **kwargs)

    decorated: Any = with_tokens
    for each in reversed(_options):
        decorated = each(decorated)
    return decorated  # type: ignore[no-any-return]
