"""A stepper in a thread instead of a process, over the same kind of socket: for tests that look inside."""

from __future__ import annotations

import os
import socket
import threading

from antiphon.spec import ModelSpec
from antiphon_cloud.engine.runner import Runner
from antiphon_cloud.engine.stepper import Socket, Stepper


class StepperThread:
    """Steps `runner` until `close`; as `engine.host.StepperHost` asks for it.

    Args:
        runner: driven by the thread alone.
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
        """The runner's."""
        return self._runner.spec

    def obituary(self) -> str:
        """There is nothing to tell of a thread."""
        return "the stepper's thread has ended"

    def close(self) -> None:
        """Waits for the step under way."""
        self.socket.close()
        self._thread.join()

    def end(self) -> None:
        """Ends as a process that was killed: the event loop's side hears of it."""
        self._theirs.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        with self._theirs:
            Stepper(self._runner, Socket(self._theirs)).run()
