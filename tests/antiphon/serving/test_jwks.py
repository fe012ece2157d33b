"""An issuer's keys: which can be used, a file that changes, and an address that is wrong or down."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm

from antiphon.serving.jwks import AGAIN_S, MAX_BYTES, Keys, KeySetError, parse_key_set
from tests.support.issuer import KEYS, key_set, public
from tests.support.ports import unused_address


class Issuer(BaseHTTPRequestHandler):
    """Answers what a test has put there; None sends elsewhere."""

    answer: ClassVar[bytes | None] = b""
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(302 if self.answer is None else 200)
        if self.answer is None:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(self.answer or b"")

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Issuer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        Issuer.answer = key_set()
        Issuer.asked.clear()
        yield f"http://127.0.0.1:{server.server_port}/jwks"
        server.shutdown()
        thread.join()


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_key_has_the_one_algorithm_of_its_type() -> None:
    found = parse_key_set(key_set(), "here")
    assert {name: key.algorithm for name, key in found.items()} == {
        "rs256": "RS256",
        "es256": "ES256",
        "eddsa": "EdDSA",
    }


def test_what_cannot_be_used_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    short = public("RS256", rsa.generate_private_key(65537, 1024), kid="short")
    p384 = json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key()))
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"}
    private = json.loads(ECAlgorithm.to_jwk(KEYS["ES256"]))
    for_encryption, for_pss = public("RS256", kid="enc", use="enc"), public("RS256", kid="pss", alg="PS256")
    found = parse_key_set(key_set(short, p384, secret, private, for_encryption, for_pss, public("EdDSA")), "here")
    assert list(found) == ["eddsa"]
    assert "key 'short' has 1024 bits and is passed over" in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"<html>", "is no JSON Web Key Set"),
        (b"{}", "is no JSON Web Key Set"),
        (b"[" * 100_000, "is no JSON Web Key Set"),
        (b'{"keys": ["x"]}', "is no JSON Web Key Set"),
        (b'{"keys": []}', "holds no public key for RS256, ES256 or EdDSA"),
        (key_set(public("ES256"), public("ES256")), "several keys are named 'es256'"),
        (b'{"keys": [{"kty": "RSA", "kid": "a"}]}', "key 'a' cannot be used"),
    ],
    ids=["a page", "no keys", "too deep", "a word", "empty", "two of a name", "half a key"],
)
def test_a_set_that_cannot_be_used_is_one_sentence(text: bytes, words: str) -> None:
    with pytest.raises(KeySetError, match=words) as raised:
        parse_key_set(text, "here.json")
    assert str(raised.value).startswith("here.json: ")


def test_a_file_is_followed_and_a_bad_one_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(key_set(public("ES256")))
    keys = Keys(str(path))
    assert keys.find("eddsa") is None
    path.write_bytes(key_set(public("ES256"), public("EdDSA")))
    assert keys.find("eddsa") is not None
    path.write_bytes(b"half")
    assert keys.find("eddsa") is not None
    assert "the old keys of tokens stay" in caplog.text
    with pytest.raises(KeySetError, match="cannot be read: No such file"):
        Keys(str(tmp_path / "gone.json"))


@pytest.mark.parametrize("source", ["http://issuer.example/jwks", "ftp://x/y", "https:///x", "file:///etc/passwd"])
def test_an_address_is_asked_by_https_alone_but_on_this_machine(source: str) -> None:
    with pytest.raises(KeySetError, match="is no https address"):
        Keys(source)


def test_an_address_is_asked_again_for_an_unknown_key_but_not_for_every_invented_one(address: str) -> None:
    clock = Clock()
    keys = Keys(address, clock)
    assert keys.find("new") is None
    assert keys.waiting
    Issuer.answer = key_set(public("ES256"))
    keys.refresh()
    assert keys.find("es256") is not None
    for name in ("a", "b", "c"):
        assert keys.find(name) is None
        assert not keys.waiting  # it was asked just now
    clock.now_s += AGAIN_S
    assert keys.find("new") is None
    assert keys.waiting
    Issuer.answer = key_set(public("ES256"), public("EdDSA", kid="new"))
    keys.refresh()
    assert keys.find("new") is not None
    assert len(Issuer.asked) == 2


BAD_ANSWERS = {
    "another address": (None, "cannot be fetched"),
    "a page": (b"<html>", "is no JSON Web Key Set"),
    "too much": (b" " * (MAX_BYTES + 1), "answers with more than"),
}


@pytest.mark.parametrize("source", ["https://[::1/x", "https://issuer:port/jwks", "https://issuer/a b"])
def test_what_is_no_address_is_one_sentence(source: str) -> None:
    with pytest.raises(KeySetError, match=r"is no (https )?address"):
        Keys(source)


def test_an_answer_that_is_no_http_leaves_the_old_keys(address: str, caplog: pytest.LogCaptureFixture) -> None:
    keys = Keys(address)
    keys.refresh()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        thread = threading.Thread(target=_answer_nonsense, args=(mute,))
        thread.start()
        keys.source = f"http://127.0.0.1:{mute.getsockname()[1]}/jwks"
        keys.refresh()
        thread.join()
    assert keys.find("es256") is not None
    assert "cannot be fetched" in caplog.text


def _answer_nonsense(server: socket.socket) -> None:
    caller, _ = server.accept()
    with caller:
        caller.recv(4096)
        caller.sendall(b"\x00\x00\x12 this is no HTTP\r\n\r\n")


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_the_old_keys_stay_while_an_address_answers_with(
    case: str, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    keys = Keys(address)
    keys.refresh()
    Issuer.answer, words = BAD_ANSWERS[case]
    keys.refresh()
    assert keys.find("es256") is not None
    assert words in caplog.text
    assert "/elsewhere" not in Issuer.asked


def test_the_old_keys_stay_while_the_address_is_down(address: str, caplog: pytest.LogCaptureFixture) -> None:
    keys = Keys(address)
    keys.refresh()
    keys.source = f"http://{unused_address()}/jwks"
    keys.refresh()
    assert keys.find("es256") is not None
    assert "cannot be fetched" in caplog.text


def test_a_thread_asks_while_a_server_runs_and_no_longer(address: str) -> None:
    keys = Keys(address)
    keys.start()
    keys.start()
    assert keys.fetched.wait(100)
    assert keys.find("es256") is not None
    keys.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "jwks"]
