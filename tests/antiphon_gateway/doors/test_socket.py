"""How a connection that fails is told so."""

from __future__ import annotations

import pytest
from aiohttp import WSCloseCode

from antiphon.errors import (
    AntiphonError,
    NoFreeSlotError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from antiphon_gateway.doors.socket import close_code, http_status
from antiphon_gateway.errors import MessageError, SlowClientError


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (UnauthenticatedError(""), 401, WSCloseCode.POLICY_VIOLATION),
        (PermissionDeniedError(""), 403, WSCloseCode.POLICY_VIOLATION),
        (NoFreeSlotError(""), 429, WSCloseCode.TRY_AGAIN_LATER),
        (UnavailableError(""), 503, WSCloseCode.TRY_AGAIN_LATER),
        (MessageError(""), 400, WSCloseCode.UNSUPPORTED_DATA),
        (SlowClientError(""), 400, WSCloseCode.POLICY_VIOLATION),
        (AntiphonError(""), 400, WSCloseCode.INTERNAL_ERROR),
    ],
)
def test_each_error_has_its_status_and_its_close_code(error: AntiphonError, status: int, code: WSCloseCode) -> None:
    assert (http_status(error), close_code(error)) == (status, code)
