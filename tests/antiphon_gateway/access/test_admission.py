"""Who gets in."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from antiphon.errors import NoFreeSlotError, PermissionDeniedError, UnauthenticatedError
from antiphon.serving.key_edit import make_key
from antiphon.serving.key_file import KeyFileError
from antiphon_gateway.access.admission import Access, Limits, Rules
from antiphon_gateway.access.tokens import LONGEST_S, read_secret
from antiphon_gateway.access.visitor import Visitor
from tests.support.issuer import rules, token

HERE = "192.0.2.7"
SITE = {"Origin": "https://example.org", "Host": "gateway.example"}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_without_keys_everyone_gets_in_by_their_address() -> None:
    assert Access().admit(HERE, {}) == Visitor(f"the address {HERE}")


def test_with_keys_only_a_known_one_gets_in_wherever_it_is_given(keys: Path) -> None:
    key = make_key(keys, "kitchen", sessions=2)
    access = Access(Rules(api_keys=keys))
    assert access.admit(HERE, bearer(key)) == Visitor("the API key kitchen", 2, proven=True)
    assert access.admit(HERE, {}, [None, key]).name == "the API key kitchen"
    with pytest.raises(UnauthenticatedError, match="asks for an API key"):
        access.admit(HERE, {})
    with pytest.raises(UnauthenticatedError, match="does not know the API key"):
        access.admit(HERE, bearer("antiphon_other"))
    with pytest.raises(UnauthenticatedError, match="expected `Bearer KEY`"):
        access.admit(HERE, {"Authorization": "Basic abc"})


def test_a_new_key_gets_in_without_a_restart(keys: Path) -> None:
    make_key(keys, "kitchen")
    access = Access(Rules(api_keys=keys))
    garden = make_key(keys, "garden")
    access.reload()
    assert access.admit(HERE, bearer(garden)).name == "the API key garden"


def test_a_token_is_good_once_for_its_visitor_and_its_settings() -> None:
    access = Access()
    token, _ = access.tokens.issue(Visitor("the API key kitchen", 2, proven=True), {"voice": "NATF2"})
    assert access.admit(HERE, bearer(token)) == Visitor("the API key kitchen", 2, {"voice": "NATF2"}, proven=True)
    with pytest.raises(UnauthenticatedError, match="was used already"):
        access.admit(HERE, bearer(token))


def test_a_token_expires_within_a_minute_whatever_was_asked_for() -> None:
    wall = Clock()
    access = Access(wall=wall)
    token, expires_s = access.tokens.issue(Visitor("a"), lifetime_s=1e9)
    assert expires_s == wall.now_s + LONGEST_S
    wall.now_s += LONGEST_S
    with pytest.raises(UnauthenticatedError, match="has expired"):
        access.admit(HERE, bearer(token))


@pytest.mark.parametrize("place", [5, -1])
def test_a_token_that_was_changed_or_made_elsewhere_is_nobodys(place: int) -> None:
    access = Access()
    token, _ = access.tokens.issue(Visitor("a"))
    changed = list(token)
    changed[place] = "A" if changed[place] != "A" else "B"
    for wrong in ("".join(changed), Access().tokens.issue(Visitor("a"))[0], "ek_", "ek_é.x"):
        with pytest.raises(UnauthenticatedError, match="not made by this gateway"):
            access.admit(HERE, bearer(wrong))


def test_gateways_that_share_a_secret_take_each_others_tokens(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(range(32)))
    rules = Rules(token_secret=read_secret(tmp_path / "secret"))
    token, _ = Access(rules).tokens.issue(Visitor("a"))
    assert Access(rules).admit(HERE, bearer(token)).name == "a"
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(KeyFileError, match="holds 5 bytes"):
        read_secret(tmp_path / "secret")


def test_another_sites_page_is_refused_unless_it_is_allowed() -> None:
    with pytest.raises(PermissionDeniedError, match=r"a page of https://example\.org may not connect"):
        Access().admit(HERE, SITE)
    assert Access(Rules(origins=("https://example.org",))).admit(HERE, SITE)
    assert Access(Rules(origins=("*",))).admit(HERE, SITE)
    assert Access().admit(HERE, {"Origin": "https://gateway.example", "Host": "gateway.example"})


def test_who_asks_too_often_is_told_when_to_come_back() -> None:
    clock = Clock()
    access = Access(Rules(limits=Limits(requests_per_minute=2)), clock=clock)
    access.admit(HERE, {})
    access.admit(HERE, {})
    with pytest.raises(NoFreeSlotError, match=r"more than 2 requests a minute: wait 30\.0 s") as raised:
        access.admit(HERE, {})
    assert raised.value.retry_after_s == pytest.approx(30)
    access.admit("192.0.2.8", {})
    clock.now_s += 30
    access.admit(HERE, {})


def test_an_issuers_token_gets_in_beside_keys_and_a_browsers_tokens(keys: Path, tmp_path: Path) -> None:
    key = make_key(keys, "kitchen")
    access = Access(Rules(api_keys=keys, token_rules=rules(tmp_path)))
    expires_s = int(time.time()) + 60
    visitor = access.admit(HERE, bearer(token(sub="garden", exp=expires_s)))
    assert visitor == Visitor("the token of garden", expires_s=expires_s, proven=True)
    assert access.admit(HERE, bearer(key)).name == "the API key kitchen"
    issued, _ = access.tokens.issue(visitor)
    assert access.admit(HERE, {}, [issued]).expires_s == expires_s
    with pytest.raises(UnauthenticatedError, match="has expired"):
        access.admit(HERE, bearer(token(exp=1)))
    access.reload()


def test_without_keys_an_issuers_token_is_asked_for(tmp_path: Path) -> None:
    access = Access(Rules(token_rules=rules(tmp_path)))
    for headers in ({}, bearer("antiphon_key")):
        with pytest.raises(UnauthenticatedError, match=r"asks for a token|is no JSON Web Token"):
            access.admit(HERE, headers)


def test_bytes_that_are_no_text_are_no_key(keys: Path, tmp_path: Path) -> None:
    make_key(keys, "kitchen")
    for who in (Rules(api_keys=keys), Rules(token_rules=rules(tmp_path))):
        with pytest.raises(UnauthenticatedError):
            Access(who).admit(HERE, bearer("\udcff"))
