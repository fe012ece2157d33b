"""When a response opens and closes over a model that speaks when it will."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon_edge.client.events import Reply
from antiphon_gateway.calls.events import Frame
from antiphon_gateway.calls.turns import ANSWER_FRAMES, QUIET_FRAMES, Speech, Turn, Turns

SILENCE, SOUND = np.zeros(1920, np.float32), np.full(1920, 0.1, np.float32)


def frame(text: str = "", *, loud: bool = False) -> Frame:
    return Frame(Reply(0, None, 3, text, 0.0), SOUND if loud else SILENCE)


def turns(kinds: str, turns: Turns) -> str:
    """What frames do: `t` has text, `l` is loud, `.` is quiet."""
    letters = {Turn.NONE: "-", Turn.OPENS: "O", Turn.GOES_ON: "g", Turn.CLOSES: "C"}
    return "".join(letters[turns.add(frame(" a" if kind == "t" else "", loud=kind == "l"))] for kind in kinds)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ("..t.......ll", "--Og.".replace(".", "g") + "gggggggg"[:7]),
        ("l" + "." * 8 + ".l", "O" + "g" * 7 + "C" + "-O"),
        ("t" + "." * 7 + "l" + "." * 8, "O" + "g" * 15 + "C"),
    ],
)
def test_a_response_goes_from_the_first_text_or_sound_to_the_eighth_quiet_frame(frames: str, expected: str) -> None:
    assert turns(frames, Turns()) == expected


def test_a_frame_without_sound_is_quiet() -> None:
    assert Turns().add(Frame(Reply(0, None, 3, "", 0.0), None)) is Turn.NONE


def test_a_response_that_was_asked_for_opens_at_once_and_waits_for_an_answer() -> None:
    asked = Turns()
    asked.ask()
    assert turns("." * (ANSWER_FRAMES + 1), asked) == "O" + "g" * (ANSWER_FRAMES - 1) + "C"
    asked.ask()
    assert turns("..t" + "." * QUIET_FRAMES, asked) == "Ogg" + "g" * (QUIET_FRAMES - 1) + "C"


def test_what_still_sounds_of_a_response_that_was_cut_opens_no_other() -> None:
    cut = Turns()
    assert turns("tl", cut) == "Og"
    assert cut.cut()
    assert not cut.cut()
    assert turns("ll" + "." * QUIET_FRAMES + "l", cut) == "-" * (2 + QUIET_FRAMES) + "O"


def test_in_duplex_one_response_stays_open() -> None:
    assert turns("." * 30 + "l" + "." * 30, Turns(always=True)) == "O" + "g" * 60


def test_a_person_speaks_from_the_second_loud_block_to_half_a_second_of_quiet() -> None:
    speech = Speech()
    heard = [speech.add(block, 0.08) for block in (SILENCE, SOUND, SILENCE, SOUND, SOUND, *[SILENCE] * 8)]
    assert heard == [None] * 4 + [True] + [None] * 6 + [False] + [None]
