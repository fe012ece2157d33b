"""Tokens as proof of who calls: what opens, and everything else that somebody might present."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from antiphon.errors import UnauthenticatedError, UnavailableError
from antiphon.serving.tokens import CHECKS_PER_S, MAX_CHARACTERS, TokenRules, Tokens, looks_like_token
from tests.support.issuer import KEYS, public, rules, token

HOUR_S = 3600
NOT_SIGNED = "is not signed with the key that it names"
UNKNOWN = "is signed with a key that is not known"


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(rules(tmp_path), "worker")


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_token_opens_for_its_subject_until_it_expires(algorithm: str, tokens: Tokens) -> None:
    expires_s = int(time.time()) + HOUR_S
    bearer = tokens.check(token(algorithm, sub="kitchen@home", exp=expires_s))
    assert (bearer.subject, bearer.expires_s) == ("kitchen@home", expires_s)
    assert looks_like_token(token(algorithm))
    assert not looks_like_token("antiphon_abc")


def without_signature() -> str:
    _, claims, _ = token().split(".")
    return f"{part({'alg': 'none', 'typ': 'JWT', 'kid': 'es256'})}.{claims}."


def hmac_with_the_public_key() -> str:
    pem = KEYS["RS256"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _, claims, _ = token().split(".")
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'rs256'})}.{claims}"
    signature = base64.urlsafe_b64encode(hmac.digest(pem, signed.encode(), hashlib.sha256)).decode().rstrip("=")
    return f"{signed}.{signature}"


def with_other_claims() -> str:
    header, _, signature = token().split(".")
    claims = {"sub": "admin", "aud": "antiphon", "iss": "https://issuer.example", "exp": int(time.time()) + HOUR_S}
    return f"{header}.{part(claims)}.{signature}"


def with_a_stranger_s_key(**headers: object) -> str:
    return token("RS256", rsa.generate_private_key(65537, 2048), headers)


ATTACKS = {
    "no signature (alg none)": (without_signature, NOT_SIGNED),
    "HS256 with the public key": (hmac_with_the_public_key, NOT_SIGNED),
    "claims that were changed": (with_other_claims, NOT_SIGNED),
    "somebody else's key under a known name": (with_a_stranger_s_key, NOT_SIGNED),
    "a known key under another's name": (lambda: token("RS256", headers={"kid": "es256"}), NOT_SIGNED),
    "an unknown kid": (lambda: token(headers={"kid": "x"}), UNKNOWN),
    "no kid where there are several keys": (lambda: token(headers={"kid": ""}), UNKNOWN),
    "a key that it brings itself": (lambda: with_a_stranger_s_key(jwk=public("RS256"), kid="mine"), UNKNOWN),
    "another audience": (lambda: token(aud="elsewhere"), "is for another audience"),
    "no audience": (lambda: token(aud=None), "has no `aud`"),
    "another issuer": (lambda: token(iss="https://issuer.example.evil"), "comes from another issuer"),
    "no issuer": (lambda: token(iss=None), "has no `iss`"),
    "one that has expired": (lambda: token(exp=int(time.time()) - 1), "has expired"),
    "one that never expires": (lambda: token(exp=None), "has no `exp`"),
    "one that is not valid yet": (lambda: token(nbf=int(time.time()) + HOUR_S), "is not valid yet"),
    "nobody's": (lambda: token(sub=None), "has no `sub`"),
    "a subject that would forge a line of the log": (lambda: token(sub="a\nb"), "has a subject that is no name"),
    "a huge one": (lambda: token(junk="x" * MAX_CHARACTERS), f"is longer than {MAX_CHARACTERS} characters"),
    "none": (lambda: "", "asks for a token"),
    "half of one": (lambda: token()[:40], "is no JSON Web Token"),
    "the five parts of an encrypted one": (lambda: "eyJhIjoxfQ.a.b.c.d", "is no JSON Web Token"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_everything_else_is_refused_with_its_reason_and_never_shown(attack: str, tokens: Tokens) -> None:
    make, words = ATTACKS[attack]
    presented = make()
    with pytest.raises(UnauthenticatedError) as raised:
        tokens.check(presented)
    assert words in str(raised.value)
    assert not presented or presented not in str(raised.value)


def test_clocks_may_differ_for_the_beginning_and_not_for_the_end(tmp_path: Path) -> None:
    now_s = int(time.time())
    tokens = Tokens(rules(tmp_path), "worker", wall=lambda: now_s)
    assert tokens.check(token(nbf=now_s + 20, exp=now_s + 1)).subject == "kitchen"
    with pytest.raises(UnauthenticatedError, match="has expired"):
        tokens.check(token(exp=now_s))


def test_a_set_of_one_key_needs_no_names(tmp_path: Path) -> None:
    key = public("EdDSA")
    del key["kid"]
    assert Tokens(rules(tmp_path, key), "worker").check(token("EdDSA", headers={"kid": ""})).subject == "kitchen"


def test_while_an_address_has_not_answered_a_client_is_told_to_come_back() -> None:
    tokens = Tokens(TokenRules("https://issuer.invalid/jwks", "antiphon", "x"), "worker")
    with pytest.raises(UnavailableError, match="is fetching the keys of tokens: try again"):
        tokens.check(token())


def test_a_flood_of_forged_tokens_costs_little_and_shuts_out_nobody_who_was_in(tmp_path: Path) -> None:
    tokens = Tokens(rules(tmp_path), "worker", clock=lambda: 0.0)
    mine, forged = token(), with_other_claims()
    assert tokens.check(mine).subject == "kitchen"
    for _ in range(int(CHECKS_PER_S) - 1):
        with pytest.raises(UnauthenticatedError, match=NOT_SIGNED):
            tokens.check(forged)
    with pytest.raises(UnavailableError, match="is given too many new tokens: try again in a moment"):
        tokens.check(forged)
    assert tokens.check(mine).subject == "kitchen"


def test_a_token_that_was_good_is_refused_once_its_key_is_gone_or_it_has_expired(tmp_path: Path) -> None:
    now_s = int(time.time())
    wall = [now_s]
    tokens = Tokens(rules(tmp_path), "worker", wall=lambda: wall[0])
    mine = token(exp=now_s + 60)
    tokens.check(mine)
    wall[0] += 60
    with pytest.raises(UnauthenticatedError, match="has expired"):
        tokens.check(mine)
    wall[0] = now_s
    rules(tmp_path, public("ES256", ec.generate_private_key(ec.SECP256R1())))
    tokens.keys.reload()
    with pytest.raises(UnauthenticatedError, match=NOT_SIGNED):
        tokens.check(mine)
