"""A command at a terminal: a pseudo-terminal that a test reads and types into."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

LOOK_S = 0.05  # for whether the command has ended
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]")


@dataclass(slots=True)
class Terminal:
    """A command that runs at one."""

    descriptor: int
    process: subprocess.Popen[bytes]
    shown: str = ""
    """All that it has written, with what moves the cursor."""

    @property
    def text(self) -> str:
        """The same without that."""
        return CONTROL.sub("", self.shown)

    def until(self, words: str, after: int = 0) -> int:
        """Reads until `words` are written beyond the first `after` characters of the text; where they end.

        Raises:
            EOFError: the command has ended without them.
        """
        while (at := self.text.find(words, after)) < 0:
            if not self._read():
                raise EOFError(f"{words!r} never came: {self.text}")
        return at + len(words)

    def type(self, keys: str) -> None:
        """Presses keys."""
        os.write(self.descriptor, keys.encode())

    def end(self) -> int:
        """Reads to the end; the command's status."""
        while self._read():
            pass
        return self.process.wait()

    def _read(self) -> bool:
        """Reads what comes next; False where the command has ended."""
        while not select.select([self.descriptor], [], [], LOOK_S)[0]:
            if self.process.poll() is not None:
                return False
        self.shown += os.read(self.descriptor, 4096).decode(errors="replace")
        return True


def _at_a_terminal() -> None:
    """In the command's process: the terminal is its own, and its keys interrupt, which not all shells leave be."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def terminal(command: Sequence[str], env: Mapping[str, str], *, columns: int = 100) -> Iterator[Terminal]:
    """Runs `command` at a terminal of its own, and finds the terminal's modes afterwards as they were before."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    before = termios.tcgetattr(theirs)
    with subprocess.Popen(
        command,
        env={**{name: value for name, value in env.items() if name not in ("COLUMNS", "LINES")}, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_at_a_terminal,
    ) as process:
        try:
            yield Terminal(ours, process)
        finally:
            process.kill()
            process.wait()
            after = termios.tcgetattr(theirs)
            os.close(theirs)
            os.close(ours)
    assert after == before
