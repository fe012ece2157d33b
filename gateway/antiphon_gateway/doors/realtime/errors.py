"""How the protocol tells an error, and the codes by which clients know one that needs no words to a person."""

from __future__ import annotations

from typing import Any

from antiphon.errors import AntiphonError, NotSupportedError, PreconditionError
from antiphon_gateway.doors.realtime.items import Ids
from antiphon_gateway.errors import MessageError


class EmptyBufferError(MessageError):
    """A commit without sound."""

    code = "input_audio_buffer_commit_empty"


class NothingToCancelError(PreconditionError):
    """A cancel without a response. Clients who look at the sentence know it by its first two words."""

    code = "response_cancel_not_active"


def error_event(error: AntiphonError, event_id: Any = None, ids: Ids | None = None) -> dict[str, Any]:
    """The event that tells an error.

    Args:
        error: that happened.
        event_id: of the client's event that caused it.
        ids: of the session.
    """
    of_the_client = isinstance(error, MessageError | NotSupportedError | PreconditionError)
    told = {
        "type": "invalid_request_error" if of_the_client else "server_error",
        "code": getattr(error, "code", error.status.lower()),
        "message": str(error),
        "param": None,
        "event_id": event_id if isinstance(event_id, str) else None,
    }
    return {"type": "error", "event_id": (ids or Ids()).new("event"), "error": told}
