"""JSON Web Tokens (RFC 7519) as proof of who calls: RS256, ES256 and EdDSA, for this audience, of this issuer.

A key decides the algorithm, never the token (RFC 8725, 3.1), so that neither `none` nor an HMAC made with a public key
opens anything. The client's name is the token's subject, and its sessions end no later than the token.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import jwt
from jwt.types import Options

from antiphon.errors import UnauthenticatedError, UnavailableError
from antiphon.serving.jwks import Keys

MAX_CHARACTERS = 8192
LEEWAY_S = 30.0  # of clocks that differ, for `nbf`; an expiry has none, as sessions end by it
BY_OUR_CLOCK: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
SUBJECT = re.compile(r"[\x21-\x7e]{1,128}")  # it stands in logs
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
    """

    def __init__(
        self, rules: TokenRules, server: str, keys: Keys | None = None, wall: Callable[[], float] = time.time
    ) -> None:
        self._rules, self._server, self._wall = rules, server, wall
        self.keys = keys or Keys(rules.keys)

    def check(self, token: str | None) -> Bearer:
        """Who the token speaks of; None where none came.

        Raises:
            UnauthenticatedError: it opens nothing; the message says why, and never shows it.
            UnavailableError: the issuer's keys are being fetched.
        """
        if not token:
            raise UnauthenticatedError(f"this {self._server} asks for a token: present one as `Bearer TOKEN`")
        if len(token) > MAX_CHARACTERS:
            raise self._refused(f"is longer than {MAX_CHARACTERS} characters")
        try:
            name = jwt.get_unverified_header(token).get("kid", "")
        except jwt.PyJWTError:
            raise self._refused("is no JSON Web Token") from None
        key = self.keys.find(name if isinstance(name, str) else "")
        if key is None:
            if self.keys.waiting:
                raise UnavailableError(f"this {self._server} is fetching the keys of tokens: try again in a moment")
            raise self._refused("is signed with a key that is not known")
        now_s = self._wall()
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
