"""Who is known by what they present: an API key of the file, or a token of the issuer's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from antiphon_cloud.server.access.api_keys import ApiKeys
from antiphon_cloud.sessions.clients import Allowance, Client

if TYPE_CHECKING:  # PyJWT is an extra
    from antiphon.serving.tokens import TokenRules, Tokens


class KnownClients:
    """The clients of a worker that asks who calls.

    Args:
        keys: of those that have one; None where there are none.
        tokens: checks theirs; None where none is taken.
        default: allowance of a token, and of a key where the file sets none.
    """

    def __init__(self, keys: ApiKeys | None, tokens: Tokens | None, default: Allowance) -> None:
        self._keys, self._tokens, self._default = keys, tokens, default

    @classmethod
    def given(cls, api_keys: Path | None, rules: TokenRules | None, default: Allowance) -> KnownClients | None:
        """Those of a file of keys and of an issuer; None where everyone is let in.

        Raises:
            KeyFileError: the file of keys cannot be used.
            KeySetError: nor can the issuer's.
        """
        if api_keys is None and rules is None:
            return None
        tokens = None
        if rules is not None:
            from antiphon.serving.tokens import Tokens

            tokens = Tokens(rules, "worker")
        return cls(ApiKeys(api_keys, default) if api_keys else None, tokens, default)

    def client(self, presented: str | None) -> Client:
        """Who presents a key or a token.

        Raises:
            UnauthenticatedError: nobody known.
            UnavailableError: the issuer's keys are being fetched.
        """
        if self._tokens is not None and (self._keys is None or (presented and _is_token(presented))):
            bearer = self._tokens.check(presented)
            return Client(f"the token of {bearer.subject}", self._default, proven=True, expires_s=bearer.expires_s)
        assert self._keys is not None, "there are keys or tokens"
        return self._keys.client(presented)

    def start(self) -> None:
        """Begins to follow the issuer's keys."""
        if self._tokens is not None:
            self._tokens.keys.start()

    def stop(self) -> None:
        """Ends that."""
        if self._tokens is not None:
            self._tokens.keys.stop()

    def settle(self, default: Allowance) -> None:
        """Gives another allowance to tokens, and from the next `reload` on to keys."""
        self._default = default
        if self._keys is not None:
            self._keys.default = default

    def reload(self) -> None:
        """Reads keys again, of clients and of the issuer."""
        if self._keys is not None:
            self._keys.reload()
        if self._tokens is not None:
            self._tokens.keys.reload()


def _is_token(presented: str) -> bool:
    from antiphon.serving.tokens import looks_like_token

    return looks_like_token(presented)
