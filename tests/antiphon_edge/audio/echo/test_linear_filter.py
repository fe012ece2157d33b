"""A room is learnt from what the speaker plays, and what a person says teaches nothing."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon_edge.audio.echo.double_talk import DoubleTalkDetector
from antiphon_edge.audio.echo.least_squares import LeastSquares
from antiphon_edge.audio.echo.linear_filter import LinearEchoFilter
from antiphon_edge.audio.pcm import Pcm
from tests.support.echoes import FRAME, RATE_HZ, noise, room, softer_db


def rest_of(mic: Pcm, far: Pcm) -> Pcm:
    """What is left of the microphone's signal without what is taken for the echo."""
    learnt = LinearEchoFilter(RATE_HZ, FRAME, DoubleTalkDetector())
    frames = zip(mic.reshape(-1, FRAME), far.reshape(-1, FRAME), strict=True)
    return np.concatenate([heard - learnt.echo(heard, played) for heard, played in frames])


LAST = slice(-8 * FRAME, None)


def test_an_echo_is_35_db_softer_after_two_seconds() -> None:
    far = noise(3.2, 1)
    echo = room(far)
    assert softer_db(echo[LAST], rest_of(echo, far)[LAST]) > 35


def test_a_person_who_speaks_into_the_echo_is_left_whole() -> None:
    far, person = noise(4, 1), noise(4, 2)
    person[: 3 * RATE_HZ // FRAME * FRAME] = 0
    echo = room(far)
    rest = rest_of(echo + person, far)
    assert softer_db(echo[LAST], (rest - person)[LAST]) > 20


def test_what_a_person_said_has_taught_nothing_false() -> None:
    far, person = noise(4.8, 1), noise(4.8, 2)
    person[: 3 * RATE_HZ] = 0
    person[4 * RATE_HZ :] = 0
    echo = room(far)
    rest = rest_of(echo + person, far)
    assert softer_db(echo[LAST], rest[LAST]) > 20


def test_samples_beyond_full_scale_teach_nothing() -> None:
    far = noise(3.2, 1, level=0.3)
    echo = room(far)
    mic = np.clip(echo / np.abs(echo).max() * 1.5, -1, 1).astype(np.float32)
    whole = np.abs(mic) < 0.98
    assert 0.001 < 1 - whole.mean() < 0.05
    rest = rest_of(mic, far)
    assert softer_db((mic * whole)[LAST], (rest * whole)[LAST]) > 30


def test_where_nothing_is_played_the_microphone_is_left_as_it_is() -> None:
    person = noise(0.8, 3)
    assert rest_of(person, np.zeros_like(person)) == pytest.approx(person)


def test_least_squares_finds_the_response_that_was_there() -> None:
    rng = np.random.default_rng(0)
    far = rng.standard_normal(64 + 1_000).astype(np.float32)
    response = (rng.standard_normal(64) * np.exp(-np.arange(64) / 10)).astype(np.float32)
    mic = np.convolve(far, response)[64:1_064].astype(np.float32)
    problem = LeastSquares(64, 1_000, RATE_HZ)
    assert np.abs(problem.residual(response, mic, far)).max() < 1e-4
    found = problem.refine(np.zeros(64, np.float32), mic, far, np.ones(1_000, np.float32), 60)
    assert found == pytest.approx(response, abs=0.02)


def test_samples_without_weight_do_not_count() -> None:
    rng = np.random.default_rng(0)
    far = rng.standard_normal(32 + 2_000).astype(np.float32)
    response = np.zeros(32, np.float32)
    response[3] = 1
    mic = np.convolve(far, response)[32:2_032].astype(np.float32)
    weights = np.ones(2_000, np.float32)
    mic[500:900] += 10
    weights[500:900] = 0
    found = LeastSquares(32, 2_000, RATE_HZ).refine(np.zeros(32, np.float32), mic, far, weights, 40)
    assert found == pytest.approx(response, abs=0.05)


def test_silence_teaches_nothing() -> None:
    before = np.ones(32, np.float32)
    nothing = np.zeros(132, np.float32)
    after = LeastSquares(32, 100, RATE_HZ).refine(before, nothing[32:], nothing, np.ones(100, np.float32), 4)
    assert np.array_equal(after, before)
