"""How callbacks of PortAudio's threads reach the event loop."""

from __future__ import annotations

import asyncio
import gc

import pytest

from antiphon_edge.audio.crossing import ABORT, CONTINUE, TOGETHER, Crossing


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_speaker_alone_is_heard_at_once() -> None:
    heard: list[int] = []
    assert Crossing.to_running_loop().hand_over("output", heard.append, 1) == CONTINUE
    await settle()
    assert heard == [1]


async def test_beside_a_microphone_a_speaker_is_heard_with_it_in_order() -> None:
    crossing, heard = Crossing.to_running_loop(), list[str]()
    crossing.microphones = 1
    crossing.hand_over("output", heard.append, "played")
    await settle()
    assert heard == []
    crossing.hand_over("input", heard.append, "said")
    await settle()
    assert heard == ["played", "said"]


async def test_a_speaker_does_not_wait_for_a_microphone_that_brings_nothing() -> None:
    crossing, heard = Crossing.to_running_loop(), list[int]()
    crossing.microphones = 1
    for number in range(TOGETHER):
        crossing.hand_over("output", heard.append, number)
    await settle()
    assert heard == list(range(TOGETHER))


async def test_an_error_of_one_does_not_keep_another_from_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, heard = asyncio.get_running_loop(), list[str]()
    monkeypatch.setattr(loop, "call_exception_handler", lambda context: heard.append(str(context["exception"])))
    crossing = Crossing.to_running_loop()

    def fail() -> None:
        raise ValueError("broken")

    crossing.hand_over("input", fail)
    crossing.hand_over("input", heard.append, "said")
    await settle()
    assert heard == ["broken", "said"]


def test_a_loop_that_was_closed_ends_the_stream() -> None:
    loop = asyncio.new_event_loop()
    crossing = Crossing(loop)
    loop.close()
    assert crossing.hand_over("input", print) == ABORT
    del loop
    gc.collect()
    assert crossing.hand_over("input", print) == ABORT
