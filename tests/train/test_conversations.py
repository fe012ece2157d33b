import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tools.clerk.train.data.clips import FRAME, RATE, Clip, Word
from tools.clerk.train.data.conversations import heard_of, tokens_of
from tools.clerk.train.data.dialogue import Dialogue, Reply
from tools.clerk.train.data.text import PADDING, token
from tools.clerk.train.decoder import Voice

BOOKS, FRAMES = 2, 40
FRAME_S = FRAME / RATE
SILENCE = [7, 8]


def at(frame: float) -> float:
    """Seconds."""
    return frame * FRAME_S


@pytest.fixture
def voice() -> Voice:
    """Says "ready" in 3 frames, "you said" in 6, "four" in 4; the codes count on from 100, 200 and 300."""
    made = object.__new__(Voice)
    made.silence = torch.tensor(SILENCE)
    made.units, made.codes = {}, {}
    for text, frames, first in (("ready", 3, 100), ("you said", 6, 200), ("four", 4, 300)):
        made.codes[text] = torch.arange(first, first + frames * BOOKS).view(frames, BOOKS)
        samples = np.zeros(frames * FRAME, np.float32)
        made.units[text] = Clip("rms", samples, (Word(text, at(0.5), at(frames - 0.5)),))
    return made


def spoken(*replies: Reply) -> Dialogue:
    return Dialogue(np.zeros(FRAMES * FRAME, np.float32), [], list(replies))


@pytest.fixture
def user_codes() -> NDArray[np.int64]:
    return np.arange(FRAMES * BOOKS).reshape(FRAMES, BOOKS)


def words(tokens: NDArray[np.int64]) -> dict[int, int]:
    """The text tokens that are no padding, by their frame."""
    return {int(i): int(tokens[0, i]) for i in np.flatnonzero(tokens[0] != PADDING)}


def test_a_word_stands_at_the_frame_in_which_it_starts(voice: Voice, user_codes: NDArray[np.int64]) -> None:
    tokens = tokens_of(spoken(Reply(3, ["ready"], FRAMES), Reply(10, ["you said", "four"], FRAMES)), user_codes, voice)
    assert words(tokens) == {3: token("ready"), 10: token("you"), 13: token("said"), 16: token("four")}


def test_the_clerks_codes_are_its_units_and_silence_elsewhere(voice: Voice, user_codes: NDArray[np.int64]) -> None:
    tokens = tokens_of(spoken(Reply(3, ["ready"], FRAMES), Reply(10, ["you said", "four"], FRAMES)), user_codes, voice)
    own = tokens[1 : 1 + BOOKS].T
    assert np.array_equal(own[3:6], voice.codes["ready"])
    assert np.array_equal(own[10:16], voice.codes["you said"])
    assert np.array_equal(own[16:20], voice.codes["four"])
    silent = np.r_[0:3, 6:10, 20:FRAMES]
    assert (own[silent] == SILENCE).all()


def test_the_persons_codes_come_last(voice: Voice, user_codes: NDArray[np.int64]) -> None:
    tokens = tokens_of(spoken(), user_codes, voice)
    assert tokens.shape == (1 + 2 * BOOKS, FRAMES)
    assert np.array_equal(tokens[1 + BOOKS :], user_codes.T)


def test_an_interrupted_reply_is_cut_at_its_end(voice: Voice, user_codes: NDArray[np.int64]) -> None:
    tokens = tokens_of(spoken(Reply(10, ["you said", "four"], 13)), user_codes, voice)
    own = tokens[1 : 1 + BOOKS].T
    assert words(tokens) == {10: token("you")}
    assert np.array_equal(own[10:13], voice.codes["you said"][:3])
    assert (own[13:] == SILENCE).all()


def test_a_reply_is_cut_at_the_end_of_the_conversation(voice: Voice, user_codes: NDArray[np.int64]) -> None:
    tokens = tokens_of(spoken(Reply(FRAMES - 2, ["you said", "four"], FRAMES)), user_codes, voice)
    assert words(tokens) == {FRAMES - 2: token("you")}
    assert np.array_equal(tokens[1 : 1 + BOOKS, -2:].T, voice.codes["you said"][:2])


def test_what_was_heard_grows_by_a_digit_where_its_word_ends_and_is_forgotten_at_the_next_turn() -> None:
    said = [Word("three", at(5.5), at(8.5)), Word("zero", at(9.5), at(11.5)), Word("nine", at(20.5), at(22.5))]
    turns = [(at(5.5), at(11.5), ["three", "zero"]), (at(20.5), at(22.5), ["nine"])]
    heard = heard_of(Dialogue(np.zeros(0, np.float32), said, [], turns), FRAMES)
    expected = np.zeros((FRAMES, 4), int)
    expected[8:20, 0] = 1 + 3
    expected[11:20, 1] = 1 + 0
    expected[22:, 0] = 1 + 9
    assert np.array_equal(heard, expected)


def test_other_words_are_not_heard_but_begin_a_turn() -> None:
    said = [Word("three", at(9.5), at(11.5))]
    turns = [(at(5.5), at(11.5), ["three"]), (at(20.5), at(22.5), list[str]())]
    heard = heard_of(Dialogue(np.zeros(0, np.float32), said, [], turns), FRAMES)
    expected = np.zeros((FRAMES, 4), int)
    expected[11:20, 0] = 1 + 3
    assert np.array_equal(heard, expected)


def test_nothing_is_heard_where_nobody_speaks() -> None:
    assert not heard_of(spoken(), FRAMES).any()
