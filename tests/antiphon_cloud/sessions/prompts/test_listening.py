"""What a model that listens has heard and written before its first frame, where it is given a text."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon.errors import PreconditionError, ProtocolError
from antiphon.spec import ModelSpec, Sampling
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.sessions.prompts.listening import PAUSE_STEPS, WORD_STEPS, ListeningPrompts, stt_prompt

MODEL = ModelSpec("tiny", "stt", 4, 0, 2048, 256, 0, 100, Sampling(), "float32")
SILENCE = np.arange(12, dtype=np.int32).reshape(3, 4)
PAD = MODEL.text_padding_token


def encode(word: str) -> list[int]:
    """A token a letter."""
    return [100 + ord(letter) - ord("a") for letter in word]


PROMPTS = ListeningPrompts(MODEL, encode, SILENCE)


def test_each_word_is_written_as_the_model_writes_it_and_silence_is_heard() -> None:
    rows = stt_prompt(MODEL, [encode("ab"), encode("abcde")], SILENCE)
    words = [0, 100, 101, PAD, 0, 100, 101, 102, 103, 104]
    assert rows.text.tolist() == [*words, 0, *[PAD] * (PAUSE_STEPS - 1)]
    assert (rows.steps, rows.first, rows.codes.shape) == (len(rows.text), 0, (len(rows.text), 0))
    # The first frame's codes, then a stream that begins again and stays silent.
    heard = [SILENCE[at].tolist() for at in (0, 0, 1, *[2] * (rows.steps - 3))]
    assert rows.user.tolist() == heard


def test_a_short_word_takes_as_long_as_it_is_spoken() -> None:
    steps = len(stt_prompt(MODEL, [encode("a")] * 3, SILENCE))
    assert steps == 3 * WORD_STEPS + PAUSE_STEPS


def test_white_space_does_not_matter_and_words_do() -> None:
    one, same, other = (PROMPTS(pb.Prompt(text=text)) for text in ("ab c", "  ab\n c ", "abc"))
    assert one is not None
    assert same is not None
    assert other is not None
    assert one.sha256 == same.sha256 != other.sha256
    assert (one.rows.text == same.rows.text).all()


def test_no_words_are_no_prompt() -> None:
    assert PROMPTS(pb.Prompt(text=" \n")) is None


@pytest.mark.parametrize("text", ["a " * 11, "a" * 60, "a" * 10_000_000])
def test_a_prompt_leaves_half_of_the_context_to_the_sound(text: str) -> None:
    with pytest.raises(PreconditionError, match="it is too long, as this model takes about 10 words: shorten it"):
        PROMPTS(pb.Prompt(text=text))


def test_a_voice_is_not_for_a_model_that_listens() -> None:
    with pytest.raises(ProtocolError, match="this model only listens, and has no voice"):
        PROMPTS(pb.Prompt(voices=["anna"]))


def test_without_the_codecs_weights_nobody_knows_silence() -> None:
    with pytest.raises(PreconditionError, match="no weights of the codec"):
        ListeningPrompts(MODEL, encode, SILENCE[:0])(pb.Prompt(text="a"))
