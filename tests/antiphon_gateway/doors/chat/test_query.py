"""What a page's query asks for."""

from __future__ import annotations

import pytest

from antiphon.spec import Sampling
from antiphon_gateway.calls.fleet import Wanted
from antiphon_gateway.doors.chat.query import wanted
from antiphon_gateway.errors import MessageError

MODEL = Sampling(0.7, 25, 0.8, 250)


def test_a_page_that_asks_for_nothing_gets_the_models_own() -> None:
    assert wanted({}, MODEL) == Wanted()


def test_everything_that_both_pages_send_is_understood() -> None:
    query = {
        "worker_auth_id": "x", "email": "a@b", "text_temperature": "0.5", "text_topk": "20", "audio_temperature": "0.6",
        "audio_topk": "100", "pad_mult": "0", "text_seed": "5", "audio_seed": "5", "repetition_penalty_context": "64",
        "repetition_penalty": "1", "text_prompt": "You are a pirate.", "voice_prompt": "NATF2.pt",
    }  # fmt: skip
    asked = wanted(query, MODEL)
    assert asked == Wanted(Sampling(0.5, 20, 0.6, 100), 5, voice="NATF2", persona="You are a pirate.")


def test_two_seeds_make_one_and_a_negative_one_is_drawn() -> None:
    first = wanted({"text_seed": "1", "audio_seed": "2"}, MODEL).seed
    assert first is not None
    assert first != wanted({"text_seed": "2", "audio_seed": "1"}, MODEL).seed
    assert wanted({"seed": "-1"}, MODEL).seed is None
    assert wanted({"seed": "9"}, MODEL).seed == 9


@pytest.mark.parametrize(
    "query",
    [
        {"text_temperature": "warm"},
        {"audio_temperature": "nan"},
        {"text_temperature": "-1"},
        {"text_topk": "2.5"},
        {"text_topk": "-1"},
        {"text_seed": "9" * 30},
        {"audio_topk": "²"},
    ],
)
def test_a_number_that_is_none_is_named(query: dict[str, str]) -> None:
    with pytest.raises(MessageError, match=f"^{next(iter(query))}: expected a"):
        wanted(query, MODEL)
