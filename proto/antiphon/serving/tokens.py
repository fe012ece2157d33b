"""JSON Web Tokens (RFC 7519) as proof of who calls: RS256, ES256 and EdDSA, for this audience, of this issuer.

A key decides the algorithm, never the token (RFC 8725, 3.1), so that neither `none` nor an HMAC made with a public key
opens anything. The client's name is the token's subject, and its sessions end no later than the token.

A signature takes 0.2 ms to check, two hundred times what a key takes. So those that were found good are remembered, and
new ones are checked at a bounded rate: a flood of forged tokens keeps no frame waiting.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import jwt
from jwt.types import Options

from antiphon.errors import UnauthenticatedError, UnavailableError
from antiphon.serving.jwks import Keys, SigningKey
from antiphon.serving.rates import Buckets

MAX_CHARACTERS = 8192
LEEWAY_S = 30.0  # of clocks that differ, for `nbf`; an expiry has none, as sessions end by it
BY_OUR_CLOCK: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
SUBJECT = re.compile(r"[\x21-\x7e]{1,128}")  # it stands in logs
REMEMBERED = 4096  # tokens that were found good
CHECKS_PER_S = 200.0  # of tokens that were not: 4 % of a processor
LOOKS_LIKE = re.compile(r"eyJ[A-Za-z0-9_-]*\.")


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Which tokens open.

    Args:
        keys: the file, or https address, of the issuer's JSON Web Key Set.
        audience: that a token must be for.
        issuer: that it must come from.
    """

    keys: str
    audience: str
    issuer: str


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who a token speaks of."""

    subject: str
    expires_s: float
    """In seconds since 1970."""


class Tokens:
    """Checks tokens.

    Args:
        rules: which open.
        server: what asks for them, in a refusal.
        keys: of the issuer.
        wall: seconds since 1970.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        rules: TokenRules,
        server: str,
        keys: Keys | None = None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules, self._server, self._wall, self._clock = rules, server, wall, clock
        self._good: OrderedDict[bytes, tuple[SigningKey, Bearer]] = OrderedDict()  # by hash, the latest used last
        self._rate = Buckets()
        self.keys = keys or Keys(rules.keys)

    def check(self, token: str | None) -> Bearer:
        """Who the token speaks of; None where none came.

        Raises:
            UnauthenticatedError: it opens nothing; the message says why, and never shows it.
            UnavailableError: the issuer's keys are being fetched, or too many new tokens come.
        """
        if not token:
            raise UnauthenticatedError(f"this {self._server} asks for a token: present one as `Bearer TOKEN`")
        if len(token) > MAX_CHARACTERS:
            raise self._refused(f"is longer than {MAX_CHARACTERS} characters")
        if not token.isascii():
            raise self._refused("is no JSON Web Token")
        try:
            name = jwt.get_unverified_header(token).get("kid", "")
        except jwt.PyJWTError:
            raise self._refused("is no JSON Web Token") from None
        key = self.keys.find(name if isinstance(name, str) else "")
        if key is None:
            if self.keys.waiting:
                raise UnavailableError(f"this {self._server} is fetching the keys of tokens: try again in a moment")
            raise self._refused("is signed with a key that is not known")
        now_s, digest = self._wall(), hashlib.sha256(token.encode()).digest()
        before = self._good.get(digest)
        if before is not None and before[0] == key and now_s < before[1].expires_s:
            self._good.move_to_end(digest)
            return before[1]
        if self._rate.take("", 1 / CHECKS_PER_S, 1.0, self._clock()):
            raise UnavailableError(f"this {self._server} is given too many new tokens: try again in a moment")
        bearer = self._checked(token, key, now_s)
        self._good[digest] = key, bearer
        if len(self._good) > REMEMBERED:
            self._good.popitem(last=False)
        return bearer

    def _checked(self, token: str, key: SigningKey, now_s: float) -> Bearer:
        """Who a token that was not seen before speaks of; errors as in `check`."""
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=self._rules.audience,
                issuer=self._rules.issuer,
                options={"require": ["exp", "sub", "aud", "iss"], **BY_OUR_CLOCK},
            )
            expires_s, begins_s = float(claims["exp"]), float(claims.get("nbf", 0))
        except jwt.InvalidAudienceError:
            raise self._refused("is for another audience") from None
        except jwt.InvalidIssuerError:
            raise self._refused("comes from another issuer") from None
        except jwt.MissingRequiredClaimError as error:
            raise self._refused(f"has no `{error.claim}`") from None
        except (jwt.InvalidAlgorithmError, jwt.InvalidSignatureError):
            raise self._refused("is not signed with the key that it names") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise self._refused("cannot be used") from None
        if not now_s < expires_s < float("inf"):
            raise self._refused("has expired")
        if begins_s > now_s + LEEWAY_S:
            raise self._refused("is not valid yet")
        if not SUBJECT.fullmatch(claims["sub"]):
            raise self._refused("has a subject that is no name: up to 128 printable characters without spaces")
        return Bearer(claims["sub"], expires_s)

    def _refused(self, why: str) -> UnauthenticatedError:
        return UnauthenticatedError(f"the token {why}: give this {self._server} another one")


def looks_like_token(text: str) -> bool:
    """Whether it is a token rather than a key."""
    return LOOKS_LIKE.match(text) is not None
