"""The worker's own errors, below `AntiphonError`: files that cannot be served, and sessions that are not admitted."""

from __future__ import annotations

import enum

from antiphon.errors import AntiphonError, NoFreeSlotError


class CheckpointError(AntiphonError):
    """A weights file is missing, unreadable, or not the model that its config describes."""


class ConfigError(AntiphonError):
    """A config file is missing, malformed, or asks for something that Antiphon does not support."""


class DeviceLostError(AntiphonError):
    """What a model is stepped on has failed for good: only another process can use it again."""


class Refusal(enum.Enum):
    """Why a session is not admitted; the label of the refusals metric."""

    SLOTS = "slots"
    MEMORY = "memory"
    ADAPTERS = "adapters"
    STEP_TIME = "step_time"
    CLIENT_SESSIONS = "client_sessions"
    OPEN_RATE = "open_rate"
    CALLS = "calls"
    CALL_RATE = "call_rate"


class RefusedError(NoFreeSlotError):
    """No session now; the worker counts the reason.

    Args:
        reason: why.
        message: for people.
        retry_after_s: when to come back.
        everywhere: it is the client's own limit, and nobody is to ask another worker.
    """

    def __init__(self, reason: Refusal, message: str, retry_after_s: float, *, everywhere: bool = False) -> None:
        super().__init__(message, retry_after_s)
        self.reason = reason
        self.everywhere = everywhere
