"""What all of its clients have in common: where their key is, and how they are told of an error."""

from __future__ import annotations

from aiohttp import web

from antiphon.errors import AntiphonError, NoFreeSlotError

KEY_HEADER, KEY_QUERY = "kyutai-api-key", "auth_id"
NO_FREE_CHANNELS = "no free channels"
"""moshi-server's own words, by which clients know that they may try another one."""


def keys(request: web.Request) -> tuple[str | None, ...]:
    """What the client gives for a key."""
    return request.headers.get(KEY_HEADER), request.query.get(KEY_QUERY)


def sentence(error: AntiphonError) -> str:
    """The `message` of an Error."""
    return NO_FREE_CHANNELS if isinstance(error, NoFreeSlotError) else str(error)
