"""Who gets in: by API key, by token, or by address; and from which page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from antiphon.errors import NoFreeSlotError, PermissionDeniedError, PreconditionError, UnauthenticatedError
from antiphon.serving.key_file import KeyEntry, KeyFile
from antiphon.serving.rates import Buckets
from antiphon_gateway.access.tokens import PREFIX, Tokens
from antiphon_gateway.access.visitor import Visitor

if TYPE_CHECKING:  # PyJWT is an extra
    from antiphon.serving.tokens import TokenRules
    from antiphon.serving.tokens import Tokens as IssuedTokens

ANY_ORIGIN = "*"
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may have.

    Args:
        calls: at once; None for as many as there are.
        requests_per_minute: those of a minute may come at once.
        longest_s: of a call; None without a limit.
    """

    calls: int | None = None
    requests_per_minute: float = 600.0
    longest_s: float | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may come in.

    Args:
        api_keys: file of the keys that are let in; None lets everyone in.
        origins: of pages that may connect, such as `https://example.org`, beside those that the gateway serves itself;
            `*` for any.
        limits: of one client.
        token_secret: signs tokens for browsers; None for one of this process.
        token_rules: of an issuer's tokens, which are let in too; None takes none.
    """

    api_keys: Path | None = None
    origins: tuple[str, ...] = ()
    limits: Limits = Limits()
    token_secret: bytes | None = None
    token_rules: TokenRules | None = None


class Access:
    """Lets callers in.

    Args:
        rules: who may come in.
        wall: seconds since 1970.
        clock: seconds that only grow.

    Raises:
        KeyFileError: the file of keys cannot be used.
        KeySetError: nor can the issuer's.
    """

    def __init__(
        self,
        rules: Rules | None = None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules or Rules()
        self.limits = self._rules.limits
        """Of one client; others count at once, and for API keys from the next `reload` on."""
        self._clock, self._wall = clock, wall
        self.tokens = Tokens(wall, self._rules.token_secret)
        self._requests = Buckets()
        self._keys: KeyFile[Visitor] | None = None
        self._issued: IssuedTokens | None = None
        if self._rules.token_rules is not None:
            from antiphon.serving import tokens

            self._issued = tokens.Tokens(self._rules.token_rules, "gateway", wall=wall)
        if self._rules.api_keys:
            self._keys = KeyFile(self._rules.api_keys, self._visitor, "gateway", "as `Authorization: Bearer KEY`", wall)

    def admit(self, remote: str, headers: Mapping[str, str], keys: Iterable[str | None] = ()) -> Visitor:
        """The visitor who makes a request.

        Args:
            remote: the address that it comes from.
            headers: its own.
            keys: what it gives for a key in other places than `Authorization: Bearer KEY`.

        Raises:
            NoFreeSlotError: too many requests of one client.
            PermissionDeniedError: its page is another site's.
            UnauthenticatedError: a key is needed, and it gives none that is known.
            UnavailableError: the issuer's keys are being fetched.
        """
        self._check_rate(f"the address {remote}")
        self._check_origin(headers)
        key = next(filter(None, (bearer(headers), *keys)), None)
        if key is not None and key.startswith(PREFIX):
            return self.tokens.redeem(key)
        if self._issued is not None and (self._keys is None or (key is not None and _is_token(key))):
            spoken_of = self._issued.check(key)
            name = f"the token of {spoken_of.subject}"
            return Visitor(name, self.limits.calls, expires_s=spoken_of.expires_s, proven=True)
        if self._keys is None:
            return Visitor(f"the address {remote}", self.limits.calls)
        return self._keys.client(key)

    def start(self) -> None:
        """Begins to follow the issuer's keys."""
        if self._issued is not None:
            self._issued.keys.start()

    def stop(self) -> None:
        """Ends that."""
        if self._issued is not None:
            self._issued.keys.stop()

    @asynccontextmanager
    async def lifetime(self, visitor: Visitor) -> AsyncIterator[None]:
        """Bounds the block by how long a visitor's call may last.

        Raises:
            PreconditionError: it has lasted as long as one may.
            UnauthenticatedError: the visitor's key or token has expired.
        """
        longest_s = self.limits.longest_s
        left_s = None if visitor.expires_s is None else max(0.0, visitor.expires_s - self._wall())
        expires_first = left_s is not None and (longest_s is None or left_s < longest_s)
        limit = asyncio.timeout(left_s if expires_first else longest_s)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            if expires_first:
                raise UnauthenticatedError(f"{visitor.name} has expired, and its call with it: call again") from None
            raise PreconditionError(
                f"this call has lasted {longest_s:g} s, as long as one may here: call again"
            ) from None

    def reload(self) -> None:
        """Reads keys again, of clients and of the issuer."""
        if self._keys is not None:
            self._keys.reload()
        if self._issued is not None:
            self._issued.keys.reload()

    def _visitor(self, name: str, entry: KeyEntry, alone: bool) -> Visitor:
        calls = self.limits.calls if entry.sessions is None else entry.sessions
        return Visitor(f"the API key {name}", calls, expires_s=entry.expires_s, proven=True)

    def _check_rate(self, client: str) -> None:
        interval_s = MINUTE_S / self.limits.requests_per_minute
        if over_s := self._requests.take(client, interval_s, MINUTE_S, self._clock()):
            most = f"{self.limits.requests_per_minute:g} requests a minute"
            raise NoFreeSlotError(f"{client} makes more than {most}: wait {over_s:.1f} s", over_s)

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        """A browser says whose page connects; other clients say nothing."""
        origin = headers.get("Origin")
        if origin is None or ANY_ORIGIN in self._rules.origins or origin in self._rules.origins:
            return
        if urlsplit(origin).netloc != headers.get("Host"):
            raise PermissionDeniedError(
                f"a page of {origin[:100]} may not connect here: this gateway's operator may allow it (--allow-origin)"
            )


def _is_token(key: str) -> bool:
    from antiphon.serving.tokens import looks_like_token

    return looks_like_token(key)


def bearer(headers: Mapping[str, str]) -> str | None:
    """The key of `Authorization: Bearer KEY`; None where there is none.

    Raises:
        UnauthenticatedError: the header is something else.
    """
    value = headers.get("Authorization")
    if value is None:
        return None
    scheme, _, key = value.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise UnauthenticatedError("Authorization: expected `Bearer KEY`")
    return key.strip()
