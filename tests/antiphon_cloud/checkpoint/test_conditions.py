"""What a session may choose, and what it is told where it chooses what is not there."""

import pytest

from antiphon.errors import PreconditionError
from antiphon_cloud.checkpoint.conditions import Condition, list_conditions, require_conditions, require_voices
from antiphon_cloud.checkpoint.config_file import parse_config
from antiphon_cloud.model.config import LMConfig
from tests.support.told_models import HIBIKI, TTS


def test_conditions_have_the_defaults_of_the_models_authors() -> None:
    assert list_conditions(parse_config(HIBIKI, "").lm) == (
        Condition("description", ("very_bad", "good", "very_good"), "very_good"),
    )
    assert list_conditions(parse_config(TTS, "").lm) == (
        Condition("cfg", ("1.0", "2.0", "4.0"), "2.0"),
        Condition("control", ("ok",), "ok"),
    )
    assert list_conditions(LMConfig()) == ()


def test_a_condition_without_a_usual_value_is_told_nothing() -> None:
    raw = HIBIKI | {"fuser": {"sum": ["mood"]}, "conditioners": {"mood": HIBIKI["conditioners"]["description"]}}
    assert list_conditions(parse_config(raw, "").lm)[0].default == ""


KNOWN = (Condition("description", ("bad", "good"), "good"),)


@pytest.mark.parametrize(
    ("chosen", "known", "words"),
    [
        ({"description": "great"}, KNOWN, "condition description: 'great' is not one of its values; take bad, good$"),
        ({"description": ""}, KNOWN, "condition description: '' is not one of its values; take bad, good$"),
        ({"mood": "good"}, KNOWN, "condition 'mood': this model has none of the name; it has description$"),
        ({"mood": "good"}, (), "condition 'mood': this model has none of the name; it has none; leave conditions out$"),
    ],
)
def test_a_choice_that_is_not_there_is_refused_with_those_that_are(
    chosen: dict[str, str], known: tuple[Condition, ...], words: str
) -> None:
    with pytest.raises(PreconditionError, match=words):
        require_conditions(chosen, known)


def test_choices_that_are_there_are_taken() -> None:
    require_conditions({"description": "bad"}, KNOWN)
    require_conditions({}, ())
    require_voices(("anna", "ben.wav"), ("anna", "ben"), 2)


@pytest.mark.parametrize(
    ("chosen", "known", "words"),
    [
        (("eve",), tuple(f"v{i}" for i in range(10)), "voice 'eve': .*; take v0, v1, .*, v7 or one of 2 more$"),
        (("eve",), (), "voice 'eve': this model has none of the name; it has none; put some into voices/"),
        (("a", "a", "a"), ("a",), "3 voices: this model takes 2 at most$"),
    ],
)
def test_voices_that_are_not_there_or_too_many_are_refused(
    chosen: tuple[str, ...], known: tuple[str, ...], words: str
) -> None:
    with pytest.raises(PreconditionError, match=words):
        require_voices(chosen, known, 2)
