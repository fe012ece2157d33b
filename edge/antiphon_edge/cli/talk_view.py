"""What `talk` shows: sentences for a person or JSON for a program, commands, and a word to systemd."""

from __future__ import annotations

import asyncio
import signal
import sys
import termios
import time
import tty
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from typing import Any

import click

from antiphon.errors import AntiphonError
from antiphon.plain_text import plain_line
from antiphon.serving.systemd import Systemd
from antiphon_edge.cli.view_options import ViewOptions
from antiphon_edge.view import events
from antiphon_edge.view.controls import Lines, controls
from antiphon_edge.view.hooks import Hooks
from antiphon_edge.view.mute import Mute
from antiphon_edge.view.plain_lines import line
from antiphon_edge.view.watcher import Watcher

Show = Callable[[events.Event, float], None]
"""Takes an event and the seconds since the start."""


def has_screen(options: ViewOptions) -> bool:
    """Whether a person at a terminal can be shown a screen."""
    if options.json_lines or options.plain or find_spec("rich") is None:
        return False
    try:
        return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    except (AttributeError, ValueError):  # the caller closed one
        return False


@asynccontextmanager
async def talk_view(
    options: ViewOptions, *, screen: bool, reads_input: bool, writes_text: bool
) -> AsyncIterator[Watcher]:
    """Watches what happens within it, tells whoever wants to know, and hears the person's words.

    Args:
        options: the flags.
        screen: draw one, and take keys for words.
        reads_input: standard input is the person's voice, and holds no words.
        writes_text: the model's text goes to standard output, perhaps in the line that the person reads.
    """
    began_s = time.monotonic()
    systemd = Systemd()
    async with AsyncExitStack() as stack:
        hooks = await stack.enter_async_context(Hooks(options.commands))
        shows: list[Show] = []

        def publish(event: events.Event) -> None:
            for show in shows:
                show(event, time.monotonic() - began_s)
            hooks.put(event)
            _tell_systemd(systemd, event)

        mute = Mute(publish, muted=options.muted)
        watcher = Watcher(publish, mute, time.monotonic)
        standard_input = None if reads_input else _standard_input()
        feed = Lines(mute, _interrupt).feed
        works: list[Callable[[], Coroutine[Any, Any, None]]] = [watcher.run, partial(_keep_alive, systemd, watcher)]
        if screen and standard_input is not None:
            from antiphon_edge.view.screen import Keys, Screen

            drawn = stack.enter_context(Screen(watcher.levels))
            stack.enter_context(_single_keys(standard_input))
            shows.append(drawn.show)
            works.append(drawn.run)
            feed = Keys(mute.toggle, _interrupt).feed
        else:
            shows.append(_json if options.json_lines else _sentences(writes_text))
        stack.enter_context(controls(mute, feed, standard_input))
        tasks = [asyncio.create_task(work()) for work in works]
        try:
            yield watcher
            watcher.end()
        except AntiphonError as error:
            publish(events.Error(str(error)))
            raise
        finally:
            systemd.stopping()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def _single_keys(terminal: int) -> Iterator[None]:
    """The terminal gives every key at once and shows none; it is as it was afterwards."""
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def plain_watcher() -> Watcher:
    """For commands with no conversation to follow: what becomes of the devices and the worker, as sentences."""
    show = _sentences(writes_text=False)
    began_s = time.monotonic()

    def publish(event: events.Event) -> None:
        show(event, time.monotonic() - began_s)

    return Watcher(publish, Mute(publish), time.monotonic)


def _json(event: events.Event, at_s: float) -> None:
    click.echo(events.as_json(event, at_s), nl=False)


def _sentences(writes_text: bool) -> Show:
    amid_a_line = False

    def show(event: events.Event, at_s: float) -> None:
        nonlocal amid_a_line
        if isinstance(event, events.Text):
            amid_a_line = writes_text
        elif (words := line(event)) is not None:
            click.echo("\n" * amid_a_line + plain_line(words), err=True)
            amid_a_line = False

    return show


def _tell_systemd(systemd: Systemd, event: events.Event) -> None:
    match event:
        case events.Listening():
            systemd.ready("in conversation")
        case events.Reconnecting() | events.Device() | events.Resumed() | events.Ending() | events.Muted():
            systemd.status(line(event) or "")


async def _keep_alive(systemd: Systemd, watcher: Watcher) -> None:
    """A sign while frames go on: one that was encoded, and none that only waits."""
    if systemd.watchdog_s is None:
        return
    before = -1
    while True:
        frames = 0 if watcher.parts.conversation is None else watcher.parts.conversation.frames_up
        if frames != before:
            systemd.alive()
        before = frames
        await asyncio.sleep(systemd.watchdog_s / 3)


def _standard_input() -> int | None:
    with suppress(AttributeError, OSError, ValueError):  # the caller closed it
        return sys.stdin.fileno()
    return None


def _interrupt() -> None:
    signal.raise_signal(signal.SIGINT)
