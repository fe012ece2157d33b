"""Calls of a driver that take their time."""

from __future__ import annotations

import asyncio
import threading

import pytest

from antiphon_edge.audio.driver_thread import OPEN_S, in_driver_thread, in_time
from antiphon_edge.errors import AudioDeviceError
from tests.support.time_travel import Clock


async def test_a_driver_that_never_comes_back_is_one_sentence(clock: Clock) -> None:
    ended = threading.Event()

    async def opening() -> None:
        await in_driver_thread(ended.wait)

    waiting = asyncio.create_task(in_time(opening(), "input"))
    await clock.outlast(OPEN_S)
    with pytest.raises(
        AudioDeviceError, match="the microphone does not open within 15 s: start the sound server again"
    ):
        await waiting
    ended.set()
