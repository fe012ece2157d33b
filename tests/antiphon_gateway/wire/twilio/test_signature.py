"""Twilio's signature of a stream's URL."""

from __future__ import annotations

import pytest

from antiphon_gateway.wire.twilio.signature import is_signed, sign

URL, TOKEN = "wss://example.com/twilio", "12345"


def test_a_signature_is_the_hmac_of_the_url() -> None:
    # printf wss://example.com/twilio | openssl dgst -sha1 -hmac 12345 -binary | base64
    assert sign(URL, TOKEN) == "4qZsm0/0bGQYw36gQ+0YyAX07W0="
    assert is_signed(URL, TOKEN, sign(URL, TOKEN))


@pytest.mark.parametrize("signed", [URL, "wss://example.com:443/twilio"])
@pytest.mark.parametrize("configured", [URL, "wss://example.com:443/twilio"])
def test_the_port_that_wss_has_anyway_may_be_signed_or_not(signed: str, configured: str) -> None:
    assert is_signed(configured, TOKEN, sign(signed, TOKEN))


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "ä",
        sign(URL, "another"),
        sign("wss://example.com/other", TOKEN),
        sign("wss://example.com:8443/twilio", TOKEN),
        sign("https://example.com/twilio", TOKEN),
        sign(URL, TOKEN)[:-1],
    ],
)
def test_any_other_signature_is_none(signature: str) -> None:
    assert not is_signed(URL, TOKEN, signature)
