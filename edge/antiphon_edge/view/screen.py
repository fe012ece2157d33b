"""A conversation on a terminal: what was said above, and below it both levels, the delay, and what is connected.

It needs rich, which the `audio` extra brings; without a terminal there are plain lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from antiphon.plain_text import plain_line, plain_text
from antiphon_edge.view import events
from antiphon_edge.view.plain_lines import line

REDRAW_S = 0.125
BAR = 24  # characters
QUIETEST_DBFS, LOUDEST_DBFS = -60.0, 0.0
RED_DBFS = -3.0

Levels = Callable[[], tuple[float | None, float | None]]
"""The microphone's and the model's last frame in decibels below full scale; None in digital silence."""


class Screen:
    """Draws the events of a conversation; a context manager that leaves the terminal as it was.

    Args:
        levels: asked at every redraw.
        console: the terminal.
    """

    def __init__(self, levels: Levels, console: Console | None = None) -> None:
        self._levels = levels
        self._console = Console(highlight=False) if console is None else console
        self._said = ""
        self._worker = "connecting"
        self._devices: dict[str, str] = {}
        self._status: events.Status | None = None
        self._muted = False
        self._live = Live(console=self._console, auto_refresh=False, get_renderable=self.draw, redirect_stdout=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    async def run(self) -> None:
        """Redraws, until it is cancelled."""
        while True:
            await asyncio.sleep(REDRAW_S)
            if self._live.is_started:
                self._live.refresh()

    def show(self, event: events.Event, at_s: float) -> None:
        """Takes what has happened; what stays is printed above, the rest is in the next drawing."""
        match event:
            case events.Connected(address=address, model=model):
                self._worker = f"{plain_line(model)} at {address}"
            case events.Listening(microphone=microphone, speaker=speaker):
                self._devices = {"input": microphone or "none", "output": speaker or "none"}
                self._live.start()
            case events.Text(text=text):
                self._said += plain_text(text)
            case events.Utterance(text=text):
                self._said = ""
                self._console.print(Text(plain_text(text)))
            case events.Status(muted=muted):
                self._status, self._muted = event, muted
            case events.Muted(muted=muted):
                self._muted = muted
            case events.Device(direction=direction, device=device):
                self._devices[direction] = f"{device} ({event.state})" if event.state in ("lost", "silent") else device
            case events.Ended() | events.Error():
                self._live.stop()
        words = line(event)
        if words is not None and not isinstance(event, events.Muted | events.Listening):
            self._console.print(Text(plain_line(words), style="yellow"))

    def draw(self) -> Group:
        """The lower part."""
        heard, played = self._levels()
        table = Table.grid(padding=(0, 1))
        you = Text("muted", style="red") if self._muted else _bar(heard)
        table.add_row("you", you, Text(self._devices.get("input", ""), style="dim"))
        table.add_row("model", _bar(played), Text(self._devices.get("output", ""), style="dim"))
        status = self._status
        delay = "" if status is None else f", lag {status.lag_s:.2f} s"
        if status is not None and status.round_trip_ms is not None:
            delay = f", round trip {status.round_trip_ms:.0f} ms{delay}"
        foot = Text(f"{self._worker}{delay}; m mutes, q quits", style="dim")
        return Group(Text(self._said.strip()), table, foot)


class Keys:
    """What the keys of a terminal in cbreak mode mean.

    Args:
        toggle: mutes and unmutes.
        leave: ends the conversation.
    """

    def __init__(self, toggle: Callable[[], None], leave: Callable[[], None]) -> None:
        self._means = {ord("m"): toggle, ord(" "): toggle, ord("q"): leave}

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        for key in data.lower():
            if key in self._means:
                self._means[key]()


def _bar(level_dbfs: float | None) -> Text:
    share = 0.0
    if level_dbfs is not None:
        share = (max(level_dbfs, QUIETEST_DBFS) - QUIETEST_DBFS) / (LOUDEST_DBFS - QUIETEST_DBFS)
    full = min(BAR, round(share * BAR))
    style = "red" if level_dbfs is not None and level_dbfs > RED_DBFS else "green"
    number = "   silent" if level_dbfs is None else f"{level_dbfs:6.0f} dB"
    return Text.assemble(("█" * full, style), ("░" * (BAR - full), "dim"), number)
