"""The worker's own errors, below `AntiphonError`: files that cannot be served."""

from __future__ import annotations

from antiphon.errors import AntiphonError


class CheckpointError(AntiphonError):
    """A weights file is missing, unreadable, or not the model that its config describes."""


class ConfigError(AntiphonError):
    """A config file is missing, malformed, or asks for something that Antiphon does not support."""


class ExposedError(AntiphonError):
    """An address that other machines reach, without TLS."""
