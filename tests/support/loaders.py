"""Loaders for a stepper's process that fail, each in its own way, or whose runner does."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from antiphon.errors import AntiphonError
from antiphon_cloud.errors import DeviceLostError
from tools.harness.stub_runner import StubRunner


def refuse(arguments: object) -> None:
    """As a broken checkpoint does."""
    raise AntiphonError("model.safetensors: no such tensor")


def break_down(arguments: object) -> None:
    """As nobody thought of."""
    raise KeyError("layers")


def tell_waiting(arguments: object) -> None:
    """Says how the threads of its process wait for each other."""
    raise AntiphonError(os.environ["OMP_WAIT_POLICY"])


def never(arguments: object) -> None:
    """Takes for ever, and says so on standard output."""
    sys.stdout.write("loading\n")
    sys.stdout.flush()
    while True:
        signal.pause()


def lose_the_device(arguments: Mapping[str, Any]) -> tuple[StubRunner, dict[str, Any]]:
    """A runner whose device fails for good at a frame with the code `at`."""
    runner = StubRunner(fail_on_code=arguments["at"], fault=DeviceLostError)
    return runner, {"spec": runner.spec, "slots": runner.slots}
