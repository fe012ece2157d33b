"""The keys that sign tokens (JSON Web Key Set, RFC 7517): of a file, or of an address that is asked now and then.

A set at an address is kept while the address does not answer. A token that names a key which is not in the set has the
address asked again, at most every `AGAIN_S`, so that a flood of invented names costs it nothing. Whoever presented the
token may come back; nobody waits here for another machine.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, build_opener

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from antiphon.errors import AntiphonError
from antiphon.regular_file import read_regular

logger = logging.getLogger(__name__)

ALGORITHMS = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}  # by a key's type: a token chooses neither
CURVES = {"EC": "P-256", "OKP": "Ed25519"}
LEAST_RSA_BITS = 2048
MAX_BYTES = 1 << 20
FETCH_S = 5.0
REFRESH_S = 300.0
AGAIN_S = 10.0  # between two looks at an address, whatever asks for them


class KeySetError(AntiphonError):
    """A set of keys that cannot be read, or holds none that can be used."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key, and the one algorithm that it is used with."""

    key: Any
    algorithm: str


KeySet = dict[str, SigningKey]
"""By `kid`; a set of one key may leave the name out, which is then empty."""


def parse_key_set(text: bytes, source: str) -> KeySet:
    """The keys that can be used: RSA of 2,048 bits or more, P-256, and Ed25519; others are passed over.

    Raises:
        KeySetError: it is no set, or has none of them, or several without names.
    """
    try:
        listed = json.loads(text)["keys"]
        usable = [each for each in listed if _is_usable(each)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise KeySetError(f"{source}: is no JSON Web Key Set: it has the form " + '{"keys": [...]}') from None
    found: KeySet = {}
    for each in usable:
        name, algorithm = str(each.get("kid", "")), ALGORITHMS[each["kty"]]
        try:
            key = jwt.PyJWK(each, algorithm=algorithm).key
        except jwt.PyJWTError as error:
            raise KeySetError(f"{source}: key {name!r} cannot be used: {error}") from None
        if isinstance(key, RSAPublicKey) and key.key_size < LEAST_RSA_BITS:
            logger.warning("%s: key %r has %d bits and is passed over", source, name, key.key_size)
        elif name in found:
            raise KeySetError(f"{source}: several keys are named {name!r}: each needs a `kid` of its own")
        else:
            found[name] = SigningKey(key, algorithm)
    if not found:
        raise KeySetError(f"{source}: holds no public key for RS256, ES256 or EdDSA")
    return found


def _is_usable(key: Any) -> bool:
    kind = key["kty"]
    return (
        kind in ALGORITHMS
        and "d" not in key  # a private key has no business here
        and key.get("crv") == CURVES.get(kind)
        and key.get("use", "sig") == "sig"
        and key.get("alg", ALGORITHMS[kind]) == ALGORITHMS[kind]
    )


class Keys:
    """A set of keys that is kept up to date.

    Args:
        source: a file, or an https address (http for this machine alone).
        clock: seconds that only grow.

    Raises:
        KeySetError: the file cannot be used, or the address is none.
    """

    def __init__(self, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.source = source
        self._clock = clock
        self._file = None if "://" in source else Path(source)
        self._keys: KeySet = {}
        self._asked_s = -AGAIN_S
        self._wanted, self._ended = threading.Event(), threading.Event()
        self.fetched = threading.Event()
        """The address has answered."""
        self._thread: threading.Thread | None = None
        if self._file is not None:
            self._stamp = self._look(self._file)
            self._keys = _read(self._file)
        else:
            _check_address(source)

    def start(self) -> None:
        """Asks the address from now on, in a thread of its own; safe to call twice."""
        if self._file is None and self._thread is None:
            self._thread = threading.Thread(target=self._follow, name="jwks", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Asks no more; waits for an answer that is under way, at most `FETCH_S`."""
        self._ended.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(FETCH_S)

    def reload(self) -> None:
        """Reads the file again, or asks the address soon."""
        if self._file is None:
            self._want()
            return
        try:
            self._keys = _read(self._file)
        except KeySetError as error:
            logger.error("the old keys of tokens stay: %s", error)
        else:
            logger.info("read %d keys of tokens", len(self._keys))

    def find(self, name: str) -> SigningKey | None:
        """The key of a name; of a set that has one without a name, that one. None where there is none, or not yet."""
        if self._file is not None and (stamp := self._look(self._file)) != self._stamp:
            self._stamp = stamp
            self.reload()
        keys = self._keys
        found = keys.get(name) or (keys.get("") if len(keys) == 1 else None)
        if found is None and not name and len(keys) == 1:
            found = next(iter(keys.values()))
        if found is None:
            self._want()
        return found

    @property
    def waiting(self) -> bool:
        """Whether the address is about to be asked: a key that was not found may be there then."""
        return self._wanted.is_set() or (self._file is None and not self._keys)

    def refresh(self) -> None:
        """Asks the address once."""
        self._asked_s = self._clock()
        try:
            self._keys = parse_key_set(_fetch(self.source), self.source)
        except KeySetError as error:
            logger.error("the old keys of tokens stay: %s", error)
        else:
            self.fetched.set()
            logger.info("fetched %d keys of tokens", len(self._keys))
        finally:
            if not self._ended.is_set():
                self._wanted.clear()

    def _want(self) -> None:
        if self._file is None and self._clock() - self._asked_s >= AGAIN_S:
            self._wanted.set()

    def _follow(self) -> None:
        while not self._ended.is_set():
            self.refresh()
            self._wanted.wait(REFRESH_S if self._keys else AGAIN_S)

    @staticmethod
    def _look(path: Path) -> tuple[int, int, int] | None:
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size


def _read(path: Path) -> KeySet:
    try:
        text = read_regular(path, MAX_BYTES)
    except OSError as error:
        raise KeySetError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_key_set(text, str(path))


def _check_address(source: str) -> None:
    try:
        parts = urlsplit(source)
        known = bool(parts.hostname) and (parts.port or 0) >= 0 and not set(source) & set(" \t\r\n")
    except ValueError as error:
        raise KeySetError(f"{source}: is no address: {error}") from None
    here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not known or not (parts.scheme == "https" or (parts.scheme == "http" and here)):
        raise KeySetError(f"{source}: is no https address: whoever changes keys on the way lets anybody in")


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """Goes nowhere else: the operator named this address."""


def _fetch(source: str) -> bytes:
    try:
        with build_opener(_NoRedirect).open(source, timeout=FETCH_S) as answer:
            text: bytes = answer.read(MAX_BYTES + 1)
    except (OSError, HTTPException, ValueError) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        raise KeySetError(f"{source}: cannot be fetched: {reason}") from None
    if len(text) > MAX_BYTES:
        raise KeySetError(f"{source}: answers with more than {MAX_BYTES} bytes")
    return text
