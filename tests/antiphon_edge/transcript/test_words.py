"""Words of tokens, and their times, against what moshi-server makes of the same tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from antiphon.spec import ModelSpec, Sampling
from antiphon_edge.client.events import Reply
from antiphon_edge.transcript.words import Word, Words

FRAME_S = 0.08
STT_1B = ModelSpec("1b", "stt", 32, 0, 2048, 8000, 0, 750, Sampling(), "float32", text_delay_ms=500)
DELAY = 6  # steps of STT_1B, as moshi-server's configuration has it
PIECES = {10: " hel", 11: "lo", 12: " world", 13: ""}


def replies(tokens: Iterable[int], first: int = DELAY - 1) -> list[Reply]:
    """One reply a token; with a delay of 6 steps the sixth is of the sound's beginning."""
    return [Reply(first + at, None, token, PIECES.get(token, ""), 0.0) for at, token in enumerate(tokens)]


def heard(tokens: Iterable[int], model: ModelSpec = STT_1B, first: int = DELAY - 1) -> list[Word]:
    """All words with their ends."""
    words = Words(model, FRAME_S)
    known = [word for reply in replies(tokens, first) for word in words.add(reply)] + words.end()
    return [word for word in known if word.end_s is not None]


def server_words(tokens: Sequence[int], delay: int) -> list[tuple[list[int], float, float | None]]:
    """What moshi-server says of the tokens of steps 0, 1, …: the tokens of each word, its start and its end."""
    words: list[tuple[list[int], float, float | None]] = []
    word: list[int] = []
    last_stop_s = 0.0
    unended = False
    for steps, token in enumerate(tokens, 1):
        if steps < delay:
            continue
        if token not in (0, 3):
            word.append(token)
        elif word:
            words.append((word, last_stop_s, None))
            word, unended = [], True
        if token == 0:
            last_stop_s = (steps - delay) / 12.5
            if unended:
                words[-1] = (*words[-1][:2], last_stop_s)
                unended = False
    return words


def test_a_word_starts_at_its_token_0_and_ends_at_the_next_one() -> None:
    assert heard([3, 0, 10, 11, 3, 3, 0, 12, 3, 0]) == [
        Word("hello", 1 * FRAME_S, 6 * FRAME_S),
        Word("world", 6 * FRAME_S, 9 * FRAME_S),
    ]


def test_a_word_is_known_with_the_token_after_it_and_its_end_later() -> None:
    words = Words(STT_1B, FRAME_S)
    known = [[(word.text, word.end_s) for word in words.add(reply)] for reply in replies([0, 10, 11, 3, 3, 0, 12, 0])]
    end_s = pytest.approx(5 * FRAME_S)
    assert known == [[], [], [], [("hello", None)], [], [("hello", end_s)], [], [("world", None), ("world", 0.56)]]
    assert words.end() == []


def test_a_word_without_a_token_0_starts_with_its_first_piece() -> None:
    for between in ([], [3]):
        tokens = [0, 10, 11, *between, 12, 3, 0]
        at_s = (3 + len(between)) * FRAME_S
        assert heard(tokens) == [Word("hello", 0.0, at_s), Word("world", at_s, at_s + 2 * FRAME_S)]


def test_a_piece_without_its_characters_yet_begins_a_word() -> None:
    assert heard([3, 13, 10, 11, 0]) == [Word("hello", FRAME_S, 4 * FRAME_S)]


def test_pieces_that_are_no_text_are_no_word() -> None:
    assert heard([0, 13, 3, 0, 10, 3]) == [Word("hel", 3 * FRAME_S, 5 * FRAME_S)]


@pytest.mark.parametrize(("after", "end_s"), [(2, 3 * FRAME_S), (40, 1.0)])
def test_a_last_word_lasts_a_second_or_to_the_end(after: int, end_s: float) -> None:
    (word,) = heard([0, 10, *[3] * after])
    assert (word.text, word.start_s) == ("hel", 0.0)
    assert word.end_s == pytest.approx(end_s)


def test_what_is_written_before_anything_can_be_heard_is_no_word() -> None:
    assert heard([10, 11, 10, 11, 10, 3, 0, 12, 3, 0], first=0) == [Word("world", FRAME_S, 4 * FRAME_S)]


def test_the_silence_before_the_sound_is_not_of_the_sound() -> None:
    model = replace(STT_1B, text_delay_ms=2500, silence_before_ms=1000)  # the 2.6B model's
    tokens = [*[3] * 42, 0, 10, 11, 3, 0]
    start_s = (42 + 1 - 31) * FRAME_S - 1
    assert heard([*[3] * 50, *tokens], model, first=0)[0].start_s == pytest.approx(start_s + 50 * FRAME_S)
    (early,) = heard(tokens, model, first=0)
    assert early.start_s == 0.0
    assert early.end_s == pytest.approx(start_s + 4 * FRAME_S)


def test_words_are_those_of_the_server_wherever_each_has_its_token_0() -> None:
    random = np.random.default_rng(7)
    for _ in range(50):
        tokens = [3] * DELAY
        for _ in range(20):
            tokens += [0, 10, *random.choice([11, 13], random.integers(0, 3)), *[3] * random.integers(0, 4)]
        tokens += [0]
        expected = [
            ("".join(PIECES[token] for token in word).strip(), start_s, end_s)
            for word, start_s, end_s in server_words(tokens, DELAY)
        ]
        found = [(word.text, word.start_s, word.end_s) for word in heard(tokens, first=0)]
        assert [text for text, _, _ in found] == [text for text, _, _ in expected]
        assert [start_s for _, start_s, _ in found] == pytest.approx([start_s for _, start_s, _ in expected])
        assert [end_s for _, _, end_s in found] == pytest.approx([end_s for _, _, end_s in expected])
