"""A loudspeaker flattens what is loud: a curve that a filter learns beside the room."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon_edge.audio.echo.double_talk import DoubleTalkDetector
from antiphon_edge.audio.echo.least_squares import regress
from antiphon_edge.audio.echo.linear_filter import LinearEchoFilter
from antiphon_edge.audio.echo.loudspeaker import CURVES, Loudspeaker, curves
from antiphon_edge.audio.pcm import Pcm
from tests.support.echoes import FRAME, RATE_HZ, noise, room, softer_db


def test_a_loudspeaker_of_which_nothing_is_known_is_straight() -> None:
    far = noise(0.1, 1)
    assert Loudspeaker().played(curves(far)) == pytest.approx(far)


def test_a_curve_that_flattens_is_a_sum_of_the_given_ones() -> None:
    far = noise(1, 1, level=0.15)
    flat: Pcm = (np.tanh(4 * far) / 4).astype(np.float32)
    rest: Pcm = flat
    for _ in range(4):
        rest = rest - regress(rest, curves(far), np.ones_like(far)) @ curves(far)
    assert softer_db(flat, rest) > 30


def test_a_curve_that_is_learnt_leaves_the_sound_as_loud_as_it_was() -> None:
    given = curves(noise(0.5, 1))
    loudspeaker = Loudspeaker()
    before = loudspeaker.played(given)
    more = np.array([0.5, 0, 0, 1], np.float32)
    assert len(more) == CURVES
    louder = loudspeaker.learn(more, given)
    after = loudspeaker.played(given)
    assert np.sum(after**2) == pytest.approx(np.sum(before**2), rel=1e-3)
    assert after * louder == pytest.approx(before + more @ given, abs=1e-5)


def test_the_echo_of_a_loudspeaker_that_clips_is_softer_by_30_db() -> None:
    far = noise(3.2, 1)
    echo = room((np.tanh(2 * far) / 2).astype(np.float32))
    learnt = LinearEchoFilter(RATE_HZ, FRAME, DoubleTalkDetector())
    frames = zip(echo.reshape(-1, FRAME), far.reshape(-1, FRAME), strict=True)
    rest = np.concatenate([heard - learnt.echo(heard, played) for heard, played in frames])
    last = slice(-8 * FRAME, None)
    assert softer_db(echo[last], rest[last]) > 30
