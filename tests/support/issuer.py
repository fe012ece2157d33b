"""An issuer of tokens: its keys, the set that it publishes, and whatever it or somebody else signs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from antiphon.serving.tokens import TokenRules

AUDIENCE, ISSUER = "antiphon", "https://issuer.example"
KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
TO_JWK: dict[str, Any] = {"RS256": RSAAlgorithm.to_jwk, "ES256": ECAlgorithm.to_jwk, "EdDSA": OKPAlgorithm.to_jwk}


def public(algorithm: str, key: Any = None, **members: str) -> dict[str, Any]:
    """A public key as a set has it, named after its algorithm."""
    jwk = json.loads(TO_JWK[algorithm]((key or KEYS[algorithm]).public_key()))
    return {**jwk, "kid": algorithm.lower(), **members}


def key_set(*keys: dict[str, Any]) -> bytes:
    """A published set; of all three keys where none is given."""
    return json.dumps({"keys": list(keys) or [public(algorithm) for algorithm in KEYS]}).encode()


def rules(folder: Path, *keys: dict[str, Any]) -> TokenRules:
    """Rules by which tokens of this issuer's open, with the set in a file."""
    path = folder / "jwks.json"
    path.write_bytes(key_set(*keys))
    return TokenRules(str(path), AUDIENCE, ISSUER)


def token(algorithm: str = "ES256", key: Any = None, headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token for an hour; a claim of None is left out."""
    now_s = int(time.time())
    told = {"sub": "kitchen", "aud": AUDIENCE, "iss": ISSUER, "iat": now_s, "exp": now_s + 3600} | claims
    told = {name: value for name, value in told.items() if value is not None}
    named = {"kid": algorithm.lower()} | (headers or {})
    return jwt.encode(told, key or KEYS[algorithm], algorithm=algorithm, headers=named)
