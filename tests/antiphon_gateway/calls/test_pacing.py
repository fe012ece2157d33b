"""When the model hears silence because nothing came."""

from __future__ import annotations

import pytest

from antiphon_gateway.calls.inbox import Inbox
from antiphon_gateway.calls.pacing import Pacer

FRAME_S, GRACE_S = 0.08, 0.16


def pacer() -> Pacer:
    return Pacer(FRAME_S, GRACE_S, now_s=100.0)


def test_a_client_that_says_nothing_is_fed_silence_a_frame_every_80_ms() -> None:
    clock, due_s = pacer(), []
    for _ in range(3):
        assert clock.due_s is not None
        due_s.append(clock.due_s)
        clock.filled(clock.due_s)
    assert due_s == pytest.approx([100.16, 100.24, 100.32])


def test_samples_put_silence_off_for_as_long_as_they_last_and_the_grace() -> None:
    clock = pacer()
    clock.heard(0.02, 101.0)
    assert clock.due_s == pytest.approx(101.18)
    clock.heard(0.5, 101.02)  # a client that sends half a second at a time is not late for half a second
    assert clock.due_s == pytest.approx(101.68)


def test_a_file_that_comes_at_once_is_not_waited_for_its_length() -> None:
    clock = pacer()
    clock.heard(60.0, 101.0)
    assert clock.due_s == pytest.approx(102.16)
    assert clock.runs_ahead


def test_who_speaks_as_one_speaks_does_not_run_ahead_even_after_a_stall_of_the_network() -> None:
    clock = pacer()
    for number in range(100):
        clock.heard(0.02, 101.0 + 0.02 * number)
    clock.heard(5.0, 108.0)
    assert not clock.runs_ahead


def test_a_clock_that_fell_behind_does_not_catch_up() -> None:
    clock = pacer()
    clock.filled(200.0)
    assert clock.due_s == 200.0


def test_a_client_whose_frames_are_the_clock_is_never_fed_silence() -> None:
    clock = Pacer(FRAME_S, None, 0.0)
    clock.heard(0.02, 1.0)
    assert clock.due_s is None


def test_an_inbox_cuts_frames_pads_the_last_and_says_when_it_is_full() -> None:
    inbox = Inbox(1_000, 80, most_s=0.2)
    inbox.put([0.5] * 90)  # type: ignore[arg-type]
    frame = inbox.frame()
    assert frame is not None
    assert len(frame) == 80
    assert inbox.frame() is None
    assert list(inbox.padded()) == [0.5] * 10 + [0.0] * 70
    inbox.put([0.1] * 290)  # type: ignore[arg-type]
    assert inbox.full
    assert inbox.shed() == 160  # whole frames, the oldest
    assert (len(inbox), inbox.full) == (130, False)
    inbox.clear()
    assert len(inbox) == 0
