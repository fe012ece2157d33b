"""What a person sees on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from antiphon_edge.view import events
from antiphon_edge.view.screen import Keys, Screen

STATUS = events.Status(-20.0, None, 91.6, 0.16, 100, 99, False)


class World:
    """A screen of 90 columns, and what is on it."""

    def __init__(self) -> None:
        self.levels: tuple[float | None, float | None] = (-30.0, None)
        self.console = Console(file=io.StringIO(), width=90, force_terminal=False, highlight=False)
        self.screen = Screen(lambda: self.levels, self.console)
        self.show(events.Connected("a:1", "clerk", "s", 1), events.Listening("USB", "PCH"))

    def show(self, *shown: events.Event) -> None:
        for event in shown:
            self.screen.show(event, 0.0)

    def below(self) -> str:
        with self.console.capture() as capture:
            self.console.print(self.screen.draw())
        return capture.get()

    def above(self) -> str:
        assert isinstance(self.console.file, io.StringIO)
        return self.console.file.getvalue()


@pytest.fixture
def world() -> World:
    return World()


def test_levels_are_bars_with_their_devices(world: World) -> None:
    you, model = world.below().splitlines()[1:3]
    assert you.split() == ["you", "█" * 12 + "░" * 12, "-30", "dB", "USB"]
    assert model.split() == ["model", "░" * 24, "silent", "PCH"]


@pytest.mark.parametrize(("level_dbfs", "full"), [(-90.0, 0), (-60.0, 0), (0.0, 24), (6.0, 24)])
def test_a_bar_has_two_ends(world: World, level_dbfs: float, full: int) -> None:
    world.levels = (level_dbfs, None)
    assert world.below().splitlines()[1].count("█") == full


def test_the_last_line_has_the_worker_the_delay_and_the_keys(world: World) -> None:
    assert world.below().splitlines()[-1].strip() == "clerk at a:1; m mutes, q quits"
    world.show(STATUS)
    assert world.below().splitlines()[-1].strip() == "clerk at a:1, round trip 92 ms, lag 0.16 s; m mutes, q quits"


def test_words_come_below_and_stay_above_when_they_are_said(world: World) -> None:
    world.show(events.Text(" you", 1), events.Text(" said\x1b[2J", 2))
    assert world.below().splitlines()[0].strip() == "you said[2J"  # a worker does not write to the terminal itself
    assert "you said" not in world.above()
    world.show(events.Utterance("you said"))
    assert world.below().splitlines()[0].strip() == ""
    assert "you said" in world.above()


def test_what_is_told_to_a_person_stays_above(world: World) -> None:
    world.show(events.Reconnecting("the worker went"), events.Lost(late_replies=2))
    assert "reconnecting: the worker went" in world.above()
    assert "lost: 2 replies too late to be played" in world.above()


def test_a_mute_and_a_lost_device_are_seen(world: World) -> None:
    world.show(events.Muted(True), events.Device("output", "lost", "PCH", "", 0.0, "the speaker is lost"))
    you, model = world.below().splitlines()[1:3]
    assert you.split() == ["you", "muted", "USB"]
    assert model.split()[-2:] == ["PCH", "(lost)"]
    world.show(events.Muted(False), events.Device("output", "back", "PCH", "", 1.0, "the speaker is back"))
    you, model = world.below().splitlines()[1:3]
    assert "muted" not in you
    assert model.split()[-1] == "PCH"


def test_keys_mute_and_quit() -> None:
    pressed: list[str] = []
    keys = Keys(lambda: pressed.append("mute"), lambda: pressed.append("quit"))
    keys.feed(b"mx M")
    keys.feed(b"\nq")
    assert pressed == ["mute", "mute", "mute", "quit"]
