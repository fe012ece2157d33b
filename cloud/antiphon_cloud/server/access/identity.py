"""Identifies a caller: by its API key, else its certificate, else its address."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import grpc

from antiphon.errors import UnauthenticatedError
from antiphon_cloud.sessions.clients import Allowance, Client

HEADER = "authorization"
SCHEME = "bearer"


def bearer(metadata: Any) -> str | None:
    """The key of `authorization: Bearer KEY`; None if there is none.

    Raises:
        UnauthenticatedError: the header is something else, or there are several.
    """
    values = [value for name, value in metadata if name == HEADER]
    if not values:
        return None
    scheme, _, key = str(values[0]).partition(" ")
    if len(values) > 1 or scheme.lower() != SCHEME:
        raise UnauthenticatedError(f"{HEADER}: expected one `Bearer KEY`")
    return key.strip()


def caller(context: grpc.aio.ServicerContext[Any, Any], default: Allowance) -> Client:
    """The client of a call without an API key.

    Args:
        context: of the call.
        default: the allowance of such clients.
    """
    if identities := context.peer_identities():
        return Client(f"the certificate of {b', '.join(identities).decode(errors='replace')}", default, proven=True)
    return Client(f"the address {unquote(context.peer()).rpartition(':')[0]}", default)
