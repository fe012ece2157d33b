"""What crosses between the two processes arrives as it was, however the socket cuts it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.history import HistoryTokens
from antiphon.spec import Sampling
from antiphon_cloud.engine.messages import (
    Allow,
    Begin,
    Frame,
    PackedHistory,
    Release,
    Splitter,
    ToStepper,
    encoded,
    to_stepper,
)
from antiphon_cloud.runner.settings import SessionSettings


@pytest.mark.parametrize(
    ("steps", "rows", "model_codebooks"), [(0, 0, 8), (3, 3, 8), (5000, 40, 8), (7, 7, 0), (0, 0, 0)]
)
def test_a_history_arrives_as_it_was_also_an_empty_one_and_that_of_a_model_that_only_listens(
    steps: int, rows: int, model_codebooks: int
) -> None:
    random = np.random.default_rng(0)
    user, text, codes = (
        random.integers(0, 2048, shape).astype(np.int32) for shape in ((rows, 8), rows, (rows, model_codebooks))
    )
    crossed = PackedHistory.of(HistoryTokens(steps, user, text, codes)).tokens()
    assert crossed.steps == steps
    for sent, came in ((user, crossed.user), (text, crossed.text), (codes, crossed.codes)):
        np.testing.assert_array_equal(came, sent)
        assert came.shape == sent.shape


SETTINGS = SessionSettings({"cfg": "2.0"}, ("anna", "ben"), "pirate")

MESSAGES: list[ToStepper] = [
    Begin(0, 3, "the API key kitchen", 2**64 - 1, Sampling(), SETTINGS, None, 12),
    Frame(2**40, 2**32 - 1, 1, bytes(32)),
    Frame(2**40, 2**32 - 1, 1, bytes(32), bytes(40)),
    Release(7),
    Allow(7, 13),
]


@given(st.lists(st.integers(1, 40), min_size=1))
def test_messages_come_whole_and_in_order_however_the_socket_cuts_them(sizes: list[int]) -> None:
    stream, splitter = b"".join(encoded(message) for message in MESSAGES), Splitter()
    came: list[ToStepper] = []
    while stream:
        size = sizes[len(came) % len(sizes)]
        came += [to_stepper.decode(body) for body in splitter.feed(stream[:size])]
        stream = stream[size:]
    assert came == MESSAGES
