"""A session as rows of tokens: what the edge packs is what the worker reads, and nothing else is accepted."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import ProtocolError
from antiphon.history import History, HistoryTokens, RowLayout, fewest_steps
from antiphon.spec import ModelSpec, Sampling
from antiphon.v1 import dialogue_pb2 as pb

SEVEN_B = ModelSpec("7b", "moshi", 8, 8, 2048, 32_000, 1, 3000, Sampling(), "bfloat16")
SMALL = ModelSpec("small", "moshi", 3, 2, 24, 300, 2, 4, Sampling(), "float32")
LISTENER = ModelSpec("stt", "stt", 8, 0, 2048, 256, 0, 4, Sampling(), "float32")


def session(model: ModelSpec, steps: int, capacity: int) -> tuple[History, dict[str, np.ndarray]]:
    """A history of random tokens, and all of them."""
    rng = np.random.default_rng(steps)
    tokens = {
        "user": rng.integers(0, model.cardinality, (steps, model.user_codebooks)),
        "text": rng.integers(0, model.text_cardinality, steps),
        "codes": rng.integers(0, model.cardinality, (steps, model.model_codebooks)),
    }
    history = History(model, capacity)
    for step in range(steps):
        user = model.user_packer.pack(tokens["user"][step])
        if step < model.delay_steps:
            history.append(user, None, b"")
        else:
            history.append(user, int(tokens["text"][step]), model.model_packer.pack(tokens["codes"][step]))
    return history, tokens


def test_a_step_of_the_published_model_takes_24_bytes() -> None:
    assert RowLayout.of(SEVEN_B).size_bytes == 24


@given(
    model=st.sampled_from([SMALL, LISTENER, replace(SMALL, text_cardinality=70_000)]),
    steps=st.integers(0, 40),
    capacity=st.integers(12, 30),
)
def test_the_worker_reads_what_the_edge_kept(model: ModelSpec, steps: int, capacity: int) -> None:
    history, tokens = session(model, steps, capacity)
    past = HistoryTokens.from_message(history.to_message(), model, capacity)
    assert (past.steps, len(past)) == (steps, min(steps, capacity))
    told = slice(max(past.first, model.delay_steps), steps)
    heard = slice(told.start - past.first, None)
    np.testing.assert_array_equal(past.user, tokens["user"][past.first :])
    np.testing.assert_array_equal(past.text[heard], tokens["text"][told])
    np.testing.assert_array_equal(past.codes[heard], tokens["codes"][told])


def test_the_oldest_steps_go_and_the_users_codes_of_the_rest_can_be_sent_again() -> None:
    history, tokens = session(SMALL, 20, capacity=15)
    assert (len(history), history.steps) == (15, 20)
    for step in range(5, 20):
        assert history.user_codes(step) == SMALL.user_packer.pack(tokens["user"][step])


def test_a_worker_that_looks_back_less_takes_the_last_steps() -> None:
    history, tokens = session(SMALL, 40, capacity=30)
    past = HistoryTokens.from_message(history.to_message(), SMALL, 12)
    assert len(past) == 12
    np.testing.assert_array_equal(past.user, tokens["user"][28:])


def rows(model: ModelSpec, count: int) -> bytes:
    return bytes(RowLayout.of(model).size_bytes * count)


BAD = {
    "a piece of a row": (pb.History(steps=9, rows=rows(SMALL, 9)[:-1]), "no whole number of rows"),
    "more rows than steps": (pb.History(steps=8, rows=rows(SMALL, 9)), "9 rows of a session that has taken 8"),
    "too few rows": (pb.History(steps=100, rows=rows(SMALL, 6)), f"looks back to {fewest_steps(SMALL)} steps"),
    "no rows at all": (pb.History(steps=1), "looks back to 1 steps"),
    "a code out of range": (pb.History(steps=9, rows=b"\xff" + rows(SMALL, 9)[1:]), "code 31 of codebook 0"),
    "a text token out of range": (
        pb.History(steps=9, rows=rows(SMALL, 8) + b"\0\0\xff\xff\0\0"),
        "text token is outside",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_damaged_history_is_refused_in_one_sentence(case: str) -> None:
    message, words = BAD[case]
    with pytest.raises(ProtocolError, match=words):
        HistoryTokens.from_message(message, SMALL, 30)


@given(st.integers(0, 2**32 - 1), st.binary(max_size=400))
def test_any_bytes_are_a_history_or_are_refused(steps: int, data: bytes) -> None:
    try:
        past = HistoryTokens.from_message(pb.History(steps=steps, rows=data), SMALL, 30)
    except ProtocolError:
        return
    assert len(past) <= past.steps
