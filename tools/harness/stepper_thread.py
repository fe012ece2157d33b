"""Runs a stepper in a thread instead of a process, over the same kind of socket, so that tests can inspect it."""

from __future__ import annotations

import os
import socket
import threading

from antiphon.spec import ModelSpec
from antiphon_cloud.engine.runner import Runner
from antiphon_cloud.engine.stepper import Socket, Stepper


class StepperThread:
    """Steps `runner` until `close`; implements `engine.host.StepperHost`.

    Args:
        runner: used only by the thread.
    """

    def __init__(self, runner: Runner) -> None:
        self.socket, self._theirs = socket.socketpair()
        self._runner = runner
        self.slots = runner.slots
        self.pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="stepper", daemon=True)
        self._thread.start()

    @property
    def spec(self) -> ModelSpec:
        """The runner's model spec."""
        return self._runner.spec

    def obituary(self) -> str:
        """A fixed text: a thread has no exit status."""
        return "the stepper's thread has ended"

    def close(self) -> None:
        """Closes the socket and waits for the running step."""
        self.socket.close()
        self._thread.join()

    def end(self) -> None:
        """Ends like a killed process: the event loop's side sees its socket close."""
        self._theirs.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        with self._theirs:
            Stepper(self._runner, Socket(self._theirs)).run()
