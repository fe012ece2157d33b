"""A person is what stands out of the echo that a filter leaves."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon_edge.audio.echo.double_talk import BLOCK, KEPT, DoubleTalkDetector, Flags, Powers, powers

FRAME = 8  # blocks


def blocks(power: float) -> Powers:
    return np.full(FRAME, power, np.float32)


def learnt(leak: float, echo: float = 0.01) -> DoubleTalkDetector:
    """One that has heard a filter leave so much of the echo."""
    detector = DoubleTalkDetector()
    for _ in range(KEPT // FRAME):
        detector.learn(blocks(echo), blocks(leak * echo), blocks(echo))
        detector.is_near(blocks(1e-9), blocks(0), clipped(False))
    return detector


def clipped(value: bool) -> Flags:
    return np.full(FRAME, value)


def test_the_power_of_a_block_is_its_mean_square() -> None:
    assert powers(np.repeat(np.array([0.5, 0.1], np.float32), BLOCK)) == pytest.approx([0.25, 0.01])


def test_the_leak_is_what_the_filter_usually_leaves() -> None:
    assert learnt(0.01).leak == pytest.approx(0.01, rel=0.01)


def test_a_person_over_the_echo_is_found_at_once() -> None:
    assert learnt(0.001).is_near(blocks(0.005), blocks(0.01), clipped(False)).all()


def test_what_is_usually_left_of_the_echo_is_no_person() -> None:
    assert not learnt(0.01).is_near(blocks(0.0003), blocks(0.01), clipped(False)).any()


def test_a_filter_that_has_learnt_nothing_yet_is_not_believed() -> None:
    assert not DoubleTalkDetector().is_near(blocks(0.02), blocks(0.01), clipped(False)).any()


def test_a_person_is_found_while_the_speaker_is_silent() -> None:
    detector = learnt(0.01)
    assert detector.is_near(blocks(0.001), blocks(0), clipped(False)).all()


def test_a_person_is_there_until_100_ms_after_the_last_sign() -> None:
    detector = learnt(0.01)
    detector.is_near(blocks(0.01), blocks(0), clipped(False))
    after = [detector.is_near(blocks(1e-8), blocks(0), clipped(False)) for _ in range(3)]
    assert np.concatenate(after).sum() == 9


def test_an_overdriven_microphone_tells_of_no_person_for_150_ms() -> None:
    detector = learnt(0.001)
    assert not detector.is_near(blocks(0.01), blocks(0.01), clipped(True)).any()
    told = np.concatenate([detector.is_near(blocks(0.01), blocks(0.01), clipped(False)) for _ in range(3)])
    assert told.tolist() == [False] * 14 + [True] * 10


def test_a_moment_in_which_a_person_speaks_weighs_little() -> None:
    detector = learnt(0.001)
    alone, both = detector.weights(blocks(0.01), np.array([1e-5] * 7 + [0.01], np.float32), blocks(0.01))[[0, 7]]
    assert alone > 0.7
    assert both < 0.01


def test_before_anything_is_learnt_all_that_is_heard_may_be_the_echo() -> None:
    assert (DoubleTalkDetector().weights(blocks(0.01), blocks(0.01), blocks(0)) > 0.7).all()


def test_a_person_who_speaks_on_does_not_pass_for_the_leak() -> None:
    detector = learnt(0.001)
    for _ in range(6):  # half a second
        detector.learn(blocks(0.02), blocks(0.02), blocks(0.01))
    assert detector.leak < 0.003
