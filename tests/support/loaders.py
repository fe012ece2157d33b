"""Loaders for a stepper's process that fail, each in its own way."""

from __future__ import annotations

import signal
import sys

from antiphon.errors import AntiphonError


def refuse(arguments: object) -> None:
    """As a broken checkpoint does."""
    raise AntiphonError("model.safetensors: no such tensor")


def break_down(arguments: object) -> None:
    """As nobody thought of."""
    raise KeyError("layers")


def never(arguments: object) -> None:
    """Takes for ever, and says so on standard output."""
    sys.stdout.write("loading\n")
    sys.stdout.flush()
    while True:
        signal.pause()
