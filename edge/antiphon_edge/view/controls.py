"""What the person may say to a conversation that runs: a signal, or a line on standard input.

SIGUSR1 turns the mute on and off. Lines: `mute`, `talk` (the model hears the person), an empty one (mute on or off) and
`quit`. So push to talk is a button that says `talk` and `mute`, or a conversation that was started muted and a key.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from antiphon_edge.view.mute import Mute

MAX_LINE_BYTES = 1024  # nobody's word is longer: the rest is left out

logger = logging.getLogger(__name__)


class Lines:
    """Cuts what comes into lines, and does what they say.

    Args:
        mute: what they turn.
        leave: what `quit` calls.
    """

    def __init__(self, mute: Mute, leave: Callable[[], None]) -> None:
        self._words = {
            "mute": lambda: mute.turn(True),
            "talk": lambda: mute.turn(False),
            "": mute.toggle,
            "quit": leave,
        }
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:MAX_LINE_BYTES]
        for line in lines:
            word = line.decode(errors="replace").strip().casefold()
            if word in self._words:
                self._words[word]()
            else:
                logger.warning("standard input says %.40r: say mute, talk, quit or nothing at all", word)


@contextmanager
def controls(mute: Mute, feed: Callable[[bytes], None], standard_input: int | None) -> Iterator[None]:
    """Signals, and what is said on standard input, are heard within it.

    Args:
        mute: what a signal turns.
        feed: takes what is said as it comes, as `Lines.feed` does.
        standard_input: its descriptor; None where something else reads it.
    """
    loop = asyncio.get_running_loop()
    hears_signals = hasattr(signal, "SIGUSR1") and threading.current_thread() is threading.main_thread()
    if hears_signals:
        loop.add_signal_handler(signal.SIGUSR1, mute.toggle)
    stop = _read(loop, feed, standard_input) if standard_input is not None else _nothing
    try:
        yield
    finally:
        stop()
        if hears_signals:
            loop.remove_signal_handler(signal.SIGUSR1)


def _read(loop: asyncio.AbstractEventLoop, feed: Callable[[bytes], None], descriptor: int) -> Callable[[], None]:
    """Reads what comes, when it comes, and returns what ends that."""

    def stop() -> None:
        with suppress(OSError, ValueError):
            loop.remove_reader(descriptor)

    def read() -> None:
        if not _is_ours(descriptor):  # to read a terminal from the background would stop the program
            stop()
            return
        try:
            data = os.read(descriptor, 4096)
        except OSError:
            data = b""
        if data:
            feed(data)
        else:
            stop()

    with suppress(OSError):  # closed, or a file or /dev/null, in which nobody says anything
        if _is_ours(descriptor):
            loop.add_reader(descriptor, read)
    return stop


def _is_ours(descriptor: int) -> bool:
    return not os.isatty(descriptor) or os.tcgetpgrp(descriptor) == os.getpgrp()


def _nothing() -> None:
    return
