"""A speaker whose device runs dry because this process is slow."""

from __future__ import annotations

import asyncio
import threading

import pytest

from antiphon_edge.audio import streams
from antiphon_edge.audio.jitter.underflows import LONGEST_MS, MANY, WITHIN_S, Underflows
from antiphon_edge.audio.portaudio import CALLBACK_MS
from antiphon_edge.audio.speaker import OUTPUT_UNDERFLOW, Speaker
from antiphon_edge.audio.stall import LOOK_S
from tests.support.fake_device import FakeDevice, install


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_few_underflows_change_nothing() -> None:
    underflows = Underflows(10, Clock())
    assert [underflows.another() for _ in range(MANY - 1)] == [None] * (MANY - 1)


def test_rare_underflows_change_nothing() -> None:
    underflows = Underflows(10, clock := Clock())
    for _ in range(3 * MANY):
        clock.now_s += WITHIN_S / (MANY - 1) + 0.1
        assert underflows.another() is None


def test_many_underflows_double_what_the_device_holds_up_to_a_limit() -> None:
    underflows = Underflows(10, Clock())
    asked = [underflows.another() for _ in range(5 * MANY)]
    assert [ms for ms in asked if ms] == [20, LONGEST_MS]


async def test_a_device_that_often_runs_dry_is_opened_again_with_a_larger_buffer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, device := FakeDevice())
    async with Speaker(24_000) as speaker:
        for _ in range(MANY):
            device.play(240, OUTPUT_UNDERFLOW)
        for _ in range(3):
            await asyncio.sleep(0)  # the callbacks' words reach the loop
        assert speaker.underflows == MANY
    assert device.callbacks_ms == [None, 2 * CALLBACK_MS["output"]]
    assert (device.opened, device.closed) == (2, 2)


async def test_a_sound_server_that_speaks_while_the_device_is_opened_again_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, device := FakeDevice())
    async with Speaker(24_000) as speaker:
        stream = speaker._stream
        opening = threading.Event()
        really_open = device.open
        monkeypatch.setattr(streams, "open_stream", lambda *how: opening.wait(60) and really_open(*how))
        reopening = asyncio.create_task(stream.reopen(20))
        await asyncio.sleep(0)
        stream._server_spoke.set()
        await asyncio.sleep(2 * LOOK_S)  # in which its task looks
        opening.set()
        await reopening
    assert device.opened == 2
