"""HTTP to servers on this machine, without the proxy of the environment."""

from __future__ import annotations

import urllib.request

TIMEOUT_S = 10


def get(url: str) -> bytes:
    """The body of `url`.

    Raises:
        OSError: it cannot be fetched.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=TIMEOUT_S) as response:
        body: bytes = response.read()
    return body
