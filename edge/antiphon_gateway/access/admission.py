"""Who gets in: by API key, by token, or by address; and from which page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from antiphon.errors import NoFreeSlotError, PermissionDeniedError, UnauthenticatedError
from antiphon.serving.key_file import KeyEntry, KeyFile
from antiphon.serving.rates import Buckets
from antiphon_gateway.access.tokens import PREFIX, Tokens
from antiphon_gateway.access.visitor import Visitor

ANY_ORIGIN = "*"
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may come in.

    Args:
        api_keys: file of the keys that are let in; None lets everyone in.
        origins: of pages that may connect, such as `https://example.org`, beside those that the gateway serves itself;
            `*` for any.
        calls: of one client at once; None for as many as there are.
        requests_per_minute: of one client; those of a minute may come at once.
        token_secret: signs tokens; None for one of this process.
    """

    api_keys: Path | None = None
    origins: tuple[str, ...] = ()
    calls: int | None = None
    requests_per_minute: float = 600.0
    token_secret: bytes | None = None


class Access:
    """Lets callers in.

    Args:
        rules: who may come in.
        wall: seconds since 1970.
        clock: seconds that only grow.

    Raises:
        KeyFileError: the file of keys cannot be used.
    """

    def __init__(
        self,
        rules: Rules | None = None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules or Rules()
        self._clock = clock
        self.tokens = Tokens(wall, self._rules.token_secret)
        self._requests = Buckets()
        self._keys: KeyFile[Visitor] | None = None
        if self._rules.api_keys:
            self._keys = KeyFile(self._rules.api_keys, self._visitor, "gateway", "as `Authorization: Bearer KEY`")

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
        """
        self._check_rate(f"the address {remote}")
        self._check_origin(headers)
        key = next(filter(None, (bearer(headers), *keys)), None)
        if key is not None and key.startswith(PREFIX):
            return self.tokens.redeem(key)
        if self._keys is None:
            return Visitor(f"the address {remote}", self._rules.calls)
        return self._keys.client(key)

    def reload(self) -> None:
        """Reads the file of keys again."""
        if self._keys is not None:
            self._keys.reload()

    def _visitor(self, name: str, entry: KeyEntry, alone: bool) -> Visitor:
        calls = self._rules.calls if entry.sessions is None else entry.sessions
        return Visitor(f"the API key {name}", calls, proven=True)

    def _check_rate(self, client: str) -> None:
        interval_s = MINUTE_S / self._rules.requests_per_minute
        if over_s := self._requests.take(client, interval_s, MINUTE_S, self._clock()):
            most = f"{self._rules.requests_per_minute:g} requests a minute"
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
