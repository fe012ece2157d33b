"""The errors of both sides, their gRPC statuses, and the mapping between them.

    AntiphonError                       INTERNAL
    ├── ProtocolError                   INVALID_ARGUMENT      the peer broke the contract
    │   ├── CodesError                                        codes of a wrong length or out of range
    │   └── SequenceError                                     a frame skipped, repeated or out of turn
    ├── PreconditionError               FAILED_PRECONDITION   a sound request that this worker cannot serve
    │   └── CodecMismatchError                                the two sides' codecs differ
    ├── NoFreeSlotError                 RESOURCE_EXHAUSTED    full, or over a limit: again after `retry_after_s`
    │   └── ClientLimitError                                  a limit of the client's, which every worker has
    ├── UnavailableError                UNAVAILABLE           starting, draining, or nobody at the address
    ├── SessionTimeoutError             DEADLINE_EXCEEDED     no Open in time, or idle for too long
    ├── UnauthenticatedError            UNAUTHENTICATED       no API key, or one that the worker does not know
    ├── PermissionDeniedError           PERMISSION_DENIED     a known key, but not for this
    ├── NotSupportedError               UNIMPLEMENTED         the peer lacks what was asked of it
    └── ArgumentError                                         the caller's own argument: nothing was sent

Each side derives its local errors (an invalid wav, a checkpoint with a missing tensor) from `AntiphonError`.
Messages are one sentence: what, where, what to do.
"""

from __future__ import annotations

from typing import ClassVar


class AntiphonError(Exception):
    """Base of all errors that Antiphon raises on purpose."""

    status: ClassVar[str] = "INTERNAL"
    """Name of the gRPC status code that carries this error across the wire."""


class ProtocolError(AntiphonError):
    """The peer broke the contract; the message names the field."""

    status = "INVALID_ARGUMENT"


class CodesError(ProtocolError):
    """Packed codes of a wrong length, or a code outside the codebook."""


class SequenceError(ProtocolError):
    """A frame was skipped, repeated or sent out of turn."""


class PreconditionError(AntiphonError):
    """The request is sound, but not for this worker."""

    status = "FAILED_PRECONDITION"


class CodecMismatchError(PreconditionError):
    """The edge and the worker hold codecs made from different checkpoints."""


class NoFreeSlotError(AntiphonError):
    """No slot now: all are taken, the step budget is used up, or the client is at its limit."""

    status = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ClientLimitError(NoFreeSlotError):
    """The client is at a limit of its own: another worker would say the same, or must not say otherwise."""


class UnavailableError(AntiphonError):
    """The worker is starting, draining, gone, or was never there."""

    status = "UNAVAILABLE"


class SessionTimeoutError(AntiphonError):
    """The session waited too long for its peer."""

    status = "DEADLINE_EXCEEDED"


class UnauthenticatedError(AntiphonError):
    """No API key, or one that the worker does not know."""

    status = "UNAUTHENTICATED"


class PermissionDeniedError(AntiphonError):
    """The worker knows the key, but it does not allow this."""

    status = "PERMISSION_DENIED"


class NotSupportedError(AntiphonError):
    """The peer does not support the request."""

    status = "UNIMPLEMENTED"


class ArgumentError(AntiphonError, ValueError):
    """An invalid argument; the message names it. Nothing was sent."""


TAKEN_OVER = "the session goes on in another call"
"""Start of the UNAVAILABLE message that ends a call whose session another call has taken over."""

_BY_STATUS: dict[str, type[AntiphonError]] = {
    error.status: error
    for error in (
        ProtocolError,
        PreconditionError,
        UnavailableError,
        SessionTimeoutError,
        UnauthenticatedError,
        PermissionDeniedError,
        NotSupportedError,
    )
}


CLIENT_LIMIT = "CLIENT_LIMIT"
"""Reason of the `ErrorInfo` that tells a client's own limit from a full worker."""


def from_status(
    status: str, message: str, retry_after_s: float | None = None, reason: str | None = None
) -> AntiphonError:
    """The error that a gRPC status stands for.

    Args:
        status: name of the status code, as in `grpc.StatusCode`.
        message: the status details.
        retry_after_s: the delay of the status' `RetryInfo`, in seconds, if any.
        reason: of the status' `ErrorInfo`, if any.
    """
    if status == NoFreeSlotError.status:
        # gRPC uses the same status for a message above its size limit, without a retry delay.
        if retry_after_s is None:
            return ProtocolError(message)
        return (ClientLimitError if reason == CLIENT_LIMIT else NoFreeSlotError)(message, retry_after_s)
    error = _BY_STATUS.get(status)
    return error(message) if error else AntiphonError(f"{message} ({status})")
