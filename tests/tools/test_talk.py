"""The tools that measure a live conversation, on sound that a test makes up."""

from __future__ import annotations

import numpy as np
import pytest

from tools.talk.latency import table
from tools.talk.rig import BURST_S, EVERY_S, RATE_HZ, Onsets, bursts, pairs


def test_bursts_are_found_where_they_begin_whatever_the_blocks() -> None:
    said = bursts(5.1)
    finder, found, at = Onsets(), [], 0
    for block in np.array_split(said, 77):
        found += [at + index for index in finder.find(block)]
        at += len(block)
    np.testing.assert_allclose(np.array(found) / RATE_HZ, EVERY_S * np.arange(1, 5), atol=1e-3)


def test_a_burst_that_was_cut_by_a_short_gap_is_one() -> None:
    sound = bursts(3.1)
    middle = round((EVERY_S + BURST_S / 2) * RATE_HZ)
    sound[middle : middle + 480] = 0
    assert len(Onsets().find(sound)) == 2


def test_what_was_said_is_paired_with_what_was_heard_of_it() -> None:
    said, heard = [1.0, 2.0, 3.0], [1.2, 3.3, 4.0]
    assert pairs(said, heard) == [(1.0, 1.2), (3.0, 3.3)]


def test_the_hops_add_up_to_the_way_from_mouth_to_ear() -> None:
    said = [10.0 + EVERY_S * number for number in range(10)]
    found = {
        "framed": [(at_s + 0.070, 0.060) for at_s in said],
        "written": [(at_s + 0.080, 0.020, 0.015) for at_s in said],
        "encode": 2.0,
        "round trip": 3.0,
        "decode": 1.0,
        "target": 12.0,
        "losses": "0 underruns",
    }
    lines = table(found, said, [at_s + 0.140 for at_s in said]).splitlines()
    medians = {line[:32].strip(): float(line.split()[-2]) for line in lines[2:]}
    assert medians["microphone and its driver"] == pytest.approx(10, abs=0.1)
    assert medians["waiting in the playout"] == pytest.approx(15, abs=0.1)
    assert medians["speaker and its driver"] == pytest.approx(25, abs=0.1)
    assert medians["mouth to ear"] == pytest.approx(140, abs=0.1)
    assert medians["overhead"] == pytest.approx(60, abs=0.1)
