"""The person's words beside the conversation: what of them is written, and that nothing about it disturbs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.transport.credentials import PLAINTEXT
from antiphon_edge.view import events, transcriber
from antiphon_edge.view.mute import Mute
from antiphon_edge.view.transcriber import WAITING_FRAMES, Listener, Transcriber, written_down
from antiphon_edge.view.watcher import Watcher
from tests.support.ports import unused_address
from tests.support.servers import StubOptions, stub_server

FRAME = np.zeros(1920, np.float32)


class World:
    """A watcher, and all that it tells."""

    def __init__(self) -> None:
        self.told: list[events.Event] = []
        self.watcher = Watcher(self.told.append, Mute(self.told.append), lambda: 0.0)

    def problems(self) -> list[str]:
        return [event.reason for event in self.told if isinstance(event, events.Transcriber) and event.state == "lost"]


@pytest.fixture
def world() -> World:
    return World()


async def no_folder() -> Path:
    raise AssertionError("nothing is to be pulled")


def listener(address: str, rate_hz: int = 24_000) -> Listener:
    return Listener(address, PLAINTEXT, no_folder, rate_hz)


async def speech(frames: int) -> AsyncIterator[Pcm]:
    for _ in range(frames):
        yield FRAME


async def heard(world: World, by: Listener | None, frames: int = 3) -> int:
    """How many of the frames the conversation has heard."""
    async with written_down(by, world.watcher) as hear:
        return len([frame async for frame in hear(speech(frames))])


async def test_without_a_listener_the_frames_pass_as_they_are(world: World) -> None:
    frames = speech(1)
    async with written_down(None, world.watcher) as hear:
        assert hear(frames) is frames
    assert world.told == []


async def test_a_listener_that_is_not_there_is_told_and_changes_nothing(world: World) -> None:
    assert await heard(world, listener(unused_address()), WAITING_FRAMES + 5) == WAITING_FRAMES + 5
    (problem,) = world.problems()
    assert "no worker answers" in problem
    assert world.watcher.lost() == events.Lost(unwritten_frames=5)  # the others wait for it


async def test_a_model_that_speaks_is_no_listener(world: World) -> None:
    async with stub_server(StubOptions()) as server:
        assert await heard(world, listener(server.address)) == 3
    assert "speaks: name a worker whose model only listens" in world.problems()[0]


async def test_a_fault_of_ours_is_told_like_any_other(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(transcriber, "describe", broken)
    assert await heard(world, listener("localhost:1")) == 3
    assert world.problems() == ["a fault: ZeroDivisionError()"]
    assert "the person's words are not written" in caplog.text


def test_frames_that_nobody_takes_are_dropped_from_the_oldest_on(world: World) -> None:
    slow = Transcriber(listener("localhost:1"), world.watcher)
    for _ in range(WAITING_FRAMES + 7):
        slow.put(FRAME)
    slow.end()
    slow.end()
    assert slow.dropped_frames == 7
