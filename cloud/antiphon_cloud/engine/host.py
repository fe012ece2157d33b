"""The stepper's process as the event loop's holds it: started, loaded, and ended with it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from antiphon import logs
from antiphon.errors import AntiphonError
from antiphon.spec import ModelSpec
from antiphon_cloud.engine.messages import Failed, FromStepper, Load, Loaded, Splitter, built, encoded, from_stepper

END_S = 0.5  # for a process whose socket is closed to end by itself
READ_BYTES = 64 * 1024
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # by the stepper's process: the worker hears them, and ends it
# torch's threads wait for each other at the end of each product: asleep, as else they use up the time of those that
# they wait for. Where other programs want the processors too, a step takes 40 ms instead of 300.
ENVIRONMENT = {"OMP_WAIT_POLICY": "passive"}


class StepperHost(Protocol):
    """Where a stepper runs."""

    @property
    def socket(self) -> socket.socket:
        """The event loop's end."""

    @property
    def spec(self) -> ModelSpec:
        """The model that is stepped."""

    @property
    def slots(self) -> int:
        """Sessions at once."""

    @property
    def pid(self) -> int:
        """The process."""

    def obituary(self) -> str:
        """Why the stepper has ended, as part of a sentence."""

    def close(self) -> None:
        """Ends the stepper, even amid a step; blocks until it has ended, at most `END_S` and a moment."""


class StepperProcess:
    """A stepper in a process of its own, which shares nothing with this one but a socket. It ends with this process,
    however that ends.

    Args:
        loader: MODULE:FUNCTION; called there with `arguments`, it returns a runner and its facts: `spec`, `slots`
            and what else this side needs to know.
        arguments: what msgpack can carry.

    Raises:
        AntiphonError: the loading failed.
    """

    def __init__(self, loader: str, arguments: Mapping[str, Any]) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs, _unheard(IGNORED):
            self._process = subprocess.Popen(  # noqa: S603 - nothing of it comes from outside
                [sys.executable, "-P", "-m", "antiphon_cloud.engine.main", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                process_group=0,  # a terminal's signals are for the worker, which then ends it
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # whose first line says where the worker listens
                env={**ENVIRONMENT, **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        weakref.finalize(self, _end, self._process, self.socket)
        try:
            self.facts = self._load(
                Load(loader, dict(arguments), logging.getLogger().getEffectiveLevel(), logs.configured(), logs.name())
            )
            """What the loader found."""
        except AntiphonError:
            self.close()
            raise
        self.spec = built(ModelSpec, self.facts["spec"])
        self.slots: int = self.facts["slots"]

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def obituary(self) -> str:
        """Why the process has ended, as part of a sentence."""
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            return "the engine's process has stopped answering"
        if code >= 0:
            return f"the engine's process has ended with status {code}; its last lines on standard error say why"
        name = signal.Signals(-code).name
        hint = "; is the machine short of memory?" if -code == signal.SIGKILL else ""
        return f"the engine's process was ended by {name}{hint}"

    def close(self) -> None:
        """Ends the process, even amid a step."""
        _end(self._process, self.socket)

    def _load(self, load: Load) -> dict[str, Any]:
        splitter = Splitter()
        with suppress(ConnectionError):  # the process has ended
            self.socket.sendall(encoded(load))
            while data := self.socket.recv(READ_BYTES):
                for body in splitter.feed(data):
                    return _facts(from_stepper.decode(body))
        raise AntiphonError(f"the model was not loaded: {self.obituary()}")


@contextmanager
def _unheard(signals: Collection[signal.Signals]) -> Iterator[None]:
    """Blocks signals in this thread; a process that it starts in the block inherits that, and begins deaf to them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _facts(message: FromStepper) -> dict[str, Any]:
    if isinstance(message, Failed):
        raise AntiphonError(message.message)
    assert isinstance(message, Loaded), "the stepper says nothing else first"
    return message.facts


def _end(process: subprocess.Popen[bytes], ours: socket.socket) -> None:
    """Closes the socket, upon which the process ends by itself; kills it where it does not."""
    with suppress(OSError):
        ours.close()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
