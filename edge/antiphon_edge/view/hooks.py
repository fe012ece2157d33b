"""Commands that run when something happens, for lamps and relays: `--on-speaking "gpioset 0 17=1"`.

A command is a program and its words, without a shell. It gets the event as a line of JSON on its standard input, and
its name and text in `ANTIPHON_EVENT` and `ANTIPHON_TEXT`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from antiphon.errors import ArgumentError
from antiphon_edge.view.events import (
    Connected,
    Device,
    Error,
    Event,
    Reconnecting,
    Resumed,
    Silent,
    Speaking,
    Utterance,
    as_json,
)

HOOKS = ("connected", "text", "speaking", "silent", "error")
LIMIT_S = 10.0  # of a command; one that is still running is ended
LEAVE_S = 2.0  # for the last ones, when the conversation is over
WAITING = 32  # full: the oldest event is dropped

logger = logging.getLogger(__name__)


def hook_of(event: Event) -> str | None:
    """Which hook an event sets off; None for the most."""
    match event:
        case Connected() | Resumed():
            return "connected"
        case Utterance():
            return "text"
        case Speaking():
            return "speaking"
        case Silent():
            return "silent"
        case Error() | Reconnecting() | Device(state="lost"):
            return "error"
    return None


class Hooks:
    """Runs the commands one after the other, in the order of their events; an async context manager.

    The conversation never waits for one. One that fails is told in the log, the first time.

    Args:
        commands: by hook.

    Raises:
        ArgumentError: a command cannot be split into words.
    """

    def __init__(self, commands: Mapping[str, str]) -> None:
        self._commands = {hook: _split(hook, command) for hook, command in commands.items()}
        self._queue: asyncio.Queue[tuple[str, Event]] = asyncio.Queue(WAITING)  # full: drop the oldest event
        self._task: asyncio.Task[None] | None = None
        self._began_s = time.monotonic()
        self._failed: set[str] = set()

    def put(self, event: Event) -> None:
        """Has the event's command run, where there is one."""
        hook = hook_of(event)
        if hook not in self._commands:
            return
        if self._queue.full():
            self._queue.get_nowait()
            self._queue.task_done()
        self._queue.put_nowait((hook, event))

    async def __aenter__(self) -> Self:
        if self._commands:
            self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self._queue.join()
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            hook, event = await self._queue.get()
            problem = await self._command(self._commands[hook], event)
            if problem is not None and hook not in self._failed:
                self._failed.add(hook)
                logger.warning("the command of --on-%s %s: %s", hook, problem, shlex.join(self._commands[hook]))
            self._queue.task_done()

    async def _command(self, words: list[str], event: Event) -> str | None:
        """Runs one to its end; what is wrong with it, or None."""
        line = as_json(event, time.monotonic() - self._began_s)
        environment = os.environ | {
            "ANTIPHON_EVENT": type(event).__name__.lower(),
            "ANTIPHON_TEXT": getattr(event, "text", ""),
        }
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment,
            )
        except (OSError, ValueError) as error:
            return f"cannot be started ({error.strerror if isinstance(error, OSError) else error})"
        try:
            async with asyncio.timeout(LIMIT_S):
                await process.communicate(line)
        except TimeoutError:
            return f"was ended after {LIMIT_S:.0f} s"
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return f"failed with status {process.returncode}" if process.returncode else None


def _split(hook: str, command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ArgumentError(f"--on-{hook}: {command!r} is no command ({str(error).lower()})") from None
    if not words:
        raise ArgumentError(f"--on-{hook}: an empty command; leave the flag out")
    return words
