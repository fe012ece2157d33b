"""Between the person and the model: a switch without a click, turned by signals and by words."""

from __future__ import annotations

import asyncio
import logging
import os
import pty
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from antiphon_edge.view.controls import MAX_LINE_BYTES, Lines, controls
from antiphon_edge.view.events import Event, Muted
from antiphon_edge.view.mute import FADE_SAMPLES, Mute
from tests.support.time_travel import until

FRAME = np.full(1920, 0.5, np.float32)


def ignore(event: Event) -> None:
    return


def _is(mute: Mute, muted: bool) -> bool:
    return mute.muted == muted


def test_a_person_who_is_not_muted_is_heard_as_they_are() -> None:
    np.testing.assert_array_equal(Mute(ignore).apply(FRAME), FRAME)


def test_muted_the_model_hears_silence() -> None:
    assert not np.any(Mute(ignore, muted=True).apply(FRAME))


def test_a_turn_is_a_fade_and_no_click() -> None:
    mute = Mute(ignore)
    mute.apply(FRAME)
    mute.turn(True)
    frame = mute.apply(FRAME)
    assert np.abs(np.diff(frame)).max() < 0.5 / FADE_SAMPLES * 1.1
    assert not np.any(frame[FADE_SAMPLES:])
    assert not np.any(mute.apply(FRAME))
    mute.turn(False)
    frame = mute.apply(FRAME)
    assert np.abs(np.diff(frame)).max() < 0.5 / FADE_SAMPLES * 1.1
    np.testing.assert_array_equal(frame[FADE_SAMPLES:], FRAME[FADE_SAMPLES:])


def test_a_turn_is_told_once() -> None:
    told: list[Event] = []
    mute = Mute(told.append)
    for muted in (False, True, True, False):
        mute.turn(muted)
    mute.toggle()
    assert told == [Muted(True), Muted(False), Muted(True)]


def test_lines_turn_the_mute_and_end_the_conversation(caplog: pytest.LogCaptureFixture) -> None:
    turns: list[bool] = []
    left: list[bool] = []
    mute = Mute(lambda event: turns.append(mute.muted))
    lines = Lines(mute, lambda: left.append(True))
    for data in (b"mu", b"te\n", b"TALK\r\n\n", b"sing\n" + b"x" * 10 * MAX_LINE_BYTES, b"\nquit"):
        lines.feed(data)
    assert (turns, left) == ([True, False, True], [])
    lines.feed(b"\n")
    assert left == [True]
    assert [record.message for record in caplog.records if "'sing'" in record.message] == [
        "standard input says 'sing': say mute, talk, quit or nothing at all"
    ]
    assert caplog.records[0].levelno == logging.WARNING


async def test_a_signal_turns_the_mute_while_the_conversation_runs() -> None:
    mute = Mute(ignore)
    before = signal.getsignal(signal.SIGUSR1)
    with controls(mute, Lines(mute, lambda: None).feed, None):
        for muted in (True, False):
            os.kill(os.getpid(), signal.SIGUSR1)
            await until(partial(_is, mute, muted))
    assert signal.getsignal(signal.SIGUSR1) == before


async def test_a_pipe_on_standard_input_is_heard_until_it_ends() -> None:
    mute = Mute(ignore)
    read, write = os.pipe()
    with controls(mute, Lines(mute, lambda: None).feed, read):
        os.write(write, b"mute\n")
        await until(lambda: mute.muted)
        os.close(write)
        await asyncio.sleep(0)
        assert mute.muted
    os.close(read)


@pytest.mark.parametrize("path", ["/dev/null", __file__])
async def test_a_standard_input_that_says_nothing_is_left_alone(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    with controls(Mute(ignore), lambda data: pytest.fail("nobody has said anything"), descriptor):
        await asyncio.sleep(0)
    os.close(descriptor)


async def test_a_terminal_that_another_program_has_is_not_read() -> None:
    """To read it from the background would stop the program."""
    ours, theirs = pty.openpty()
    mute = Mute(ignore)
    with controls(mute, Lines(mute, lambda: None).feed, theirs):
        os.write(ours, b"mute\n")
        await asyncio.sleep(0.01)
    assert not mute.muted
    for descriptor in (ours, theirs):
        os.close(descriptor)


async def test_a_closed_standard_input_is_none(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    os.close(descriptor)
    with controls(Mute(ignore), lambda data: None, descriptor):
        await asyncio.sleep(0)
