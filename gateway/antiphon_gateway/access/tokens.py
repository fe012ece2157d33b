"""Tokens for browsers: signed, good for one call, and for a minute.

A page must not hold an API key. Its server asks for a token with the key, and hands that to the page. The token says
who asked, until when it is good and what was chosen for the session, and is signed (HMAC-SHA256), so that the gateway
keeps nothing of it but, until it expires, that it was used.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from antiphon.errors import UnauthenticatedError
from antiphon.serving.key_file import KeyFileError
from antiphon_gateway.access.visitor import Visitor

logger = logging.getLogger(__name__)

PREFIX = "ek_"
LONGEST_S = 60.0
SECRET_BYTES = 32
USED_KEPT = 100_000  # tokens that were used and have not expired


class _Claims(msgspec.Struct, frozen=True):
    name: str
    calls: int | None
    expires_s: float
    nonce: str
    settings: dict[str, Any]
    visitor_expires_s: float | None = None
    proven: bool = False


class Tokens:
    """Makes and checks tokens.

    Args:
        clock: seconds since 1970.
        secret: signs them; gateways that share one take each other's.
    """

    def __init__(self, clock: Callable[[], float], secret: bytes | None = None) -> None:
        self._clock = clock
        self._secret = secret or secrets.token_bytes(SECRET_BYTES)
        self._used: dict[str, float] = {}  # nonces, with when they expire

    def issue(
        self, visitor: Visitor, settings: Mapping[str, Any] | None = None, lifetime_s: float = LONGEST_S
    ) -> tuple[str, float]:
        """A token of a visitor's, and when it expires, in seconds since 1970."""
        expires_s = self._clock() + min(lifetime_s, LONGEST_S)
        claims = _Claims(
            visitor.name,
            visitor.calls,
            expires_s,
            secrets.token_urlsafe(12),
            dict(settings or {}),
            visitor.expires_s,
            visitor.proven,
        )
        body = _encoded(msgspec.json.encode(claims))
        return f"{PREFIX}{body}.{_encoded(self._signature(body))}", expires_s

    def redeem(self, token: str) -> Visitor:
        """The visitor whose token it is; it is then used up.

        Raises:
            UnauthenticatedError: it was not made here, has expired, or was used.
        """
        body, _, signature = token.removeprefix(PREFIX).partition(".")
        try:
            right = hmac.compare_digest(
                signature.encode(), _encoded(self._signature(body)).encode()
            )  # as it was written
            claims = msgspec.json.decode(_decoded(body), type=_Claims) if right else None
        except (binascii.Error, ValueError):  # msgspec's errors are ValueErrors
            claims = None
        if claims is None:
            raise UnauthenticatedError("this token was not made by this gateway: ask for a new one")
        now_s = self._clock()
        if now_s >= claims.expires_s:
            raise UnauthenticatedError("this token has expired: ask for a new one")
        if claims.nonce in self._used:
            raise UnauthenticatedError("this token was used already: ask for a new one for each call")
        self._used = {nonce: until_s for nonce, until_s in self._used.items() if until_s > now_s}
        if len(self._used) >= USED_KEPT:
            raise UnauthenticatedError("too many tokens were used within a minute: ask for a new one later")
        self._used[claims.nonce] = claims.expires_s
        return Visitor(claims.name, claims.calls, claims.settings, claims.visitor_expires_s, claims.proven)

    def _signature(self, body: str) -> bytes:
        return hmac.digest(self._secret, body.encode(), hashlib.sha256)


def read_secret(path: Path) -> bytes:
    """The secret in a file.

    Raises:
        KeyFileError: it cannot be read, or holds too little.
    """
    try:
        secret, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from None
    if mode & stat.S_IROTH:
        logger.warning("%s: everybody may read it, and so make tokens: chmod 600 it", path)
    if len(secret) < SECRET_BYTES:
        raise KeyFileError(
            f"{path}: holds {len(secret)} bytes, a secret has {SECRET_BYTES} or more: head -c 32 /dev/urandom"
        )
    return secret


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
