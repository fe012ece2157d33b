"""Voices that a model attends to, as a prompt that takes no step."""

import pytest

from antiphon.errors import PreconditionError
from antiphon.spec import ModelSpec, Sampling
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.sessions.prompts.families import strategy
from antiphon_cloud.sessions.prompts.prompt import Prompt, prompt_of
from antiphon_cloud.sessions.protocol import OpenRequested

MODEL = ModelSpec("tiny", "tts", 0, 5, 24, 462, 2, 12, Sampling(), "float32", speakers=2, takes_voice=True)
VOICES = strategy(MODEL, lambda text: [], (), {"anna": b"a" * 32, "ben": b"b" * 32})


def prompt(*names: str, **fields: object) -> Prompt | None:
    return prompt_of(VOICES, pb.Prompt(voices=names, **fields))  # type: ignore[arg-type]


def test_voices_are_settings_and_take_no_step() -> None:
    made = prompt("ben", "anna.wav")
    assert made is not None
    assert (made.voices, made.steps) == (("ben", "anna"), 0)
    request = OpenRequested(1, Sampling(), prompt=made, conditions={"cfg": "1.0"})
    assert request.past is None
    assert (request.settings.voices, request.settings.conditions) == (("ben", "anna"), {"cfg": "1.0"})


def test_a_session_needs_no_voice() -> None:
    assert prompt() is None


def test_a_session_goes_on_with_the_same_voices_only() -> None:
    made = prompt("anna")
    assert made is not None
    assert prompt("anna", sha256=made.sha256) == made
    with pytest.raises(
        PreconditionError, match=r"^open\.prompt\.sha256: .*: the voice ben is not the same on this worker"
    ):
        prompt("ben", sha256=made.sha256)


@pytest.mark.parametrize("fields", [{"voice_codes": b"1234567"}, {"text": "be kind"}])
def test_what_such_a_model_does_not_take_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(PreconditionError, match="takes voices by their names only"):
        prompt(**fields)


@pytest.mark.parametrize(
    ("names", "words"), [(["eve"], "take anna, ben$"), (["anna"] * 6, "6 voices: this model takes 5")]
)
def test_voices_that_are_not_there_or_too_many_are_refused(names: list[str], words: str) -> None:
    with pytest.raises(PreconditionError, match=words):
        prompt(*names)
