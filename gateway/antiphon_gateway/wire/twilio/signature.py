"""Whether it is Twilio that opens a stream: `X-Twilio-Signature`.

As https://www.twilio.com/docs/usage/security#validating-requests has it: HMAC-SHA1 of the URL, in base64, keyed with
the account's auth token. A stream has no parameters beside the URL. That is the one in the call's TwiML, `wss` and all,
which a server behind a proxy does not see: it must be told.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import urlsplit

HEADER = "X-Twilio-Signature"
WSS_PORT = 443


def sign(url: str, auth_token: str) -> str:
    """The signature of a request to `url`."""
    digest = hmac.new(auth_token.encode(), url.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def is_signed(url: str, auth_token: str, signature: str) -> bool:
    """Whether `signature` is that of `url`, with or without the port that a scheme has anyway: Twilio signs either."""
    parts = urlsplit(url)
    assert parts.hostname is not None, "whoever configured it has checked the URL"
    urls = [url]
    if parts.port is None:
        urls.append(parts._replace(netloc=f"{parts.netloc}:{WSS_PORT}").geturl())
    elif parts.port == WSS_PORT:
        urls.append(parts._replace(netloc=parts.netloc.removesuffix(f":{WSS_PORT}")).geturl())
    given = signature.encode()
    return any(hmac.compare_digest(sign(each, auth_token).encode(), given) for each in urls)
