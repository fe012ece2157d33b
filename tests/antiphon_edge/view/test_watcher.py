"""What a conversation tells while it goes on, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from antiphon_edge.audio.changes import DeviceChange
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.audio.playout import PlayoutStats
from antiphon_edge.client.events import Reconnecting, Reply, Resumed
from antiphon_edge.talk.conversation import Conversation
from antiphon_edge.view import events
from antiphon_edge.view.mute import Mute
from antiphon_edge.view.watcher import PAUSE_S, Watcher

FRAME_SAMPLES = 1920
LOUD = np.full(FRAME_SAMPLES, 0.5, np.float32)
SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


class World:
    """A watcher over a conversation that the test makes up."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.told: list[events.Event] = []
        self.mute = Mute(self.told.append)
        self.watcher = Watcher(self.told.append, self.mute, lambda: self.now_s)
        self.conversation = Conversation()
        self.microphone: Any = SimpleNamespace(dropped_frames=0, overflows=0, outages=0)
        self.speaker: Any = SimpleNamespace(stats=PlayoutStats(0, 0, 0.0), underflows=0, outages=0, rate_hz=24_000)
        self.session: Any = SimpleNamespace(in_flight=1, dropped_frames=0, resumptions=0)
        parts = self.watcher.parts
        parts.session, parts.conversation = cast("Any", self.session), self.conversation
        parts.microphone, parts.speaker = cast("Any", self.microphone), cast("Any", self.speaker)

    def of(self, kind: type[events.Event]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]

    def reply(self, text: str, sequence: int = 0) -> None:
        self.watcher.on_reply(Reply(sequence, None, None, text, 0.1))


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_is_told_where_nothing_is_lost(world: World) -> None:
    for _ in range(5):
        world.watcher.look()
    assert {type(event) for event in world.told} == {events.Status}


def test_what_is_lost_is_told_at_the_next_look_and_once(world: World) -> None:
    world.microphone.dropped_frames = 24
    world.speaker.stats = PlayoutStats(2, 2400, 0.0)
    world.watcher.look()
    world.watcher.look()
    world.microphone.overflows, world.speaker.underflows = 3, 1
    world.session.dropped_frames, world.conversation.skipped_replies = 7, 4
    world.watcher.look()
    assert world.of(events.Lost) == [
        events.Lost(microphone_frames=24, playout_underruns=2, playout_dropped_ms=100),
        events.Lost(microphone_overflows=3, speaker_underflows=1, unheard_frames=7, late_replies=4),
    ]
    assert world.watcher.end().lost == events.Lost(24, 3, 1, 2, 100, 7, 4)


def test_a_worker_that_falls_behind_is_told_while_it_does(world: World) -> None:
    world.session.in_flight = 25
    world.watcher.look()
    world.watcher.look()
    assert world.of(events.Slow) == [events.Slow(True, 2.0)]
    world.session.in_flight = round(events.SLOW_S / 0.08) - 1
    world.watcher.look()
    assert [event.slow for event in world.of(events.Slow)] == [True, False]
    assert world.watcher.end().longest_lag_s == 2.0


def test_an_outage_is_one_event_however_often_another_worker_is_asked(world: World) -> None:
    for wait_s in (0.0, 0.1, 0.2):
        world.watcher.on_change(Reconnecting("the worker went", wait_s))
    world.session.in_flight = 25  # which is no wonder
    world.watcher.look()
    world.watcher.on_change(Resumed("a:1", 1.23456, 0))
    world.watcher.on_change(Reconnecting("it went again"))
    assert [event for event in world.told if not isinstance(event, events.Status)] == [
        events.Reconnecting("the worker went"),
        events.Resumed("a:1", 1.235),
        events.Reconnecting("it went again"),
    ]


def test_what_an_outage_costs_is_told_when_it_is_over(world: World) -> None:
    world.watcher.on_change(Reconnecting("the worker went"))
    world.session.dropped_frames, world.microphone.overflows = 13, 1
    world.watcher.look()
    world.session.dropped_frames, world.speaker.stats = 26, PlayoutStats(1, 0, 0.0)
    world.watcher.look()
    assert world.of(events.Lost) == [events.Lost(microphone_overflows=1)]
    world.watcher.on_change(Resumed("a:1", 2.0, 0))
    world.watcher.look()
    assert world.of(events.Lost)[1:] == [events.Lost(unheard_frames=26, playout_underruns=1)]


def test_text_comes_at_once_and_an_utterance_after_a_pause(world: World) -> None:
    for sequence, text in enumerate([" you", "", " said", ""]):
        world.reply(text, sequence)
        world.now_s += 0.08
        world.watcher.look()
    assert world.of(events.Text) == [events.Text(" you", 0), events.Text(" said", 2)]
    assert world.of(events.Utterance) == []
    world.now_s += PAUSE_S
    world.watcher.look()
    world.watcher.look()
    assert world.of(events.Utterance) == [events.Utterance("you said")]


def test_what_was_said_last_is_told_at_the_end(world: World) -> None:
    world.reply(" bye")
    world.watcher.end()
    assert world.told == [events.Text(" bye", 0), events.Utterance("bye"), world.of(events.Ended)[0]]


def test_the_models_voice_begins_at_once_and_ends_after_a_while(world: World) -> None:
    for frame in (SILENCE, LOUD, SILENCE, LOUD, *[SILENCE] * 20):
        world.watcher.played(frame)
    assert world.told == [events.Speaking(), events.Silent()]


async def test_both_sides_levels_are_those_of_the_last_second(world: World) -> None:
    async def frames() -> AsyncIterator[Pcm]:
        for gain in (0.1, 1.0, 0.2):
            yield gain * LOUD

    assert len([frame async for frame in world.watcher.hear(frames())]) == 3
    world.watcher.played(0.02 * LOUD)
    world.watcher.look()
    world.watcher.look()
    levels = [(status.microphone_dbfs, status.speaker_dbfs) for status in world.of(events.Status)]
    assert levels == [(-6.0, -40.0), (None, None)]


def test_a_devices_change_is_an_event(world: World) -> None:
    change = DeviceChange("input", "back", "USB", after_s=3.21)
    world.watcher.on_device_change(change)
    assert world.told == [events.Device("input", "back", "USB", "", 3.21, str(change))]
