"""A session's script: how much may wait, whose turn it is, and how another worker comes to where it stood."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from antiphon.errors import ProtocolError
from antiphon.history import HistoryTokens
from antiphon.spec import ModelSpec, Sampling
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.sessions.script.machine import Chance
from antiphon_cloud.sessions.script.script import Script
from tests.support.speakers import SOUND_DELAY, rules

TALKER = ModelSpec("tiny", "moshi", 2, 3, 24, 20, 2, 40, Sampling(), "float32")
READER = replace(TALKER, user_codebooks=0, sound_delay_steps=SOUND_DELAY, speakers=2)
SAYS = [pb.Say(text="one two", end=True)]


def script(model: ModelSpec = READER, mode: pb.Mode = pb.MODE_SPEECH, start: int = 0) -> Script:
    return Script(model, rules(), mode, 100, start)


def history(steps: int, kept: int | None = None, model: ModelSpec = READER) -> HistoryTokens:
    rows = steps if kept is None else kept
    codes = (np.zeros((rows, width), np.int32) for width in (model.user_codebooks, model.model_codebooks))
    user, own = codes
    return HistoryTokens(steps, user, np.zeros(rows, np.int32), own)


def begun(*events: tuple[int, int]) -> list[pb.BegunWord]:
    return [pb.BegunWord(said=said, step=step) for said, step in events]


def test_more_than_may_wait_is_refused_and_the_rest_stays() -> None:
    given = script()
    given.add(pb.Say(text="x" * 40 + " " + "y" * 40 + " "))
    with pytest.raises(ProtocolError, match=r"^say\.text: 110 bytes would wait .* limits\.say_bytes are 100"):
        given.add(pb.Say(text="z" * 30))
    given.add(pb.Say(text=" " * 20))


@pytest.mark.parametrize(("model", "mode"), [(READER, pb.MODE_SPEECH), (TALKER, pb.MODE_DIALOGUE)])
def test_a_speaker_that_the_model_does_not_have_is_refused(model: ModelSpec, mode: pb.Mode) -> None:
    with pytest.raises(ProtocolError, match=r"^say\.speaker: 2 is outside \[0, [12]\)"):
        script(model, mode).add(pb.Say(text="one", speaker=2))


@pytest.mark.parametrize(
    ("events", "steps", "error"),
    [
        ([(3, 1)], 5, "nothing that was given to say explains step 1"),
        ([(3, 2), (7, 3)], 5, "nothing that was given to say explains step 3"),
        ([(4, 2)], 5, "at step 2 3 characters have begun, not 4"),
        ([(3, 2)], 60, "nothing that was given to say explains step"),
        ([(3, 9)], 5, "steps must come in order"),
        ([(7, 4), (3, 2)], 5, "steps must come in order"),
        ([(3, 2), (3, 2)], 5, "steps must come in order"),
    ],
)
def test_a_script_that_is_not_the_historys_is_refused(events: list[tuple[int, int]], steps: int, error: str) -> None:
    with pytest.raises(ProtocolError, match=rf"^open\.script\.begun: {error}"):
        script().go_on(pb.Script(says=SAYS, begun=begun(*events)), history(steps))


@pytest.mark.parametrize("mode", [pb.MODE_SPEECH, pb.MODE_DIALOGUE, pb.MODE_TEXT])
def test_a_session_of_years_takes_no_longer_to_go_on_with(mode: pb.Mode) -> None:
    """Whoever claims that it has lasted so long holds up nobody."""
    model, steps = READER if mode == pb.MODE_SPEECH else TALKER, 2**29
    message = pb.Script(start=3, says=[pb.Say(text=" two", end=True)], begun=begun((7, steps - 2)))
    held = script(model, mode, start=3).go_on(message, history(steps, 50, model))
    assert held.forced is not None
    assert len(held.forced) == TALKER.delay_steps


def test_too_much_may_not_wait_elsewhere_either() -> None:
    with pytest.raises(ProtocolError, match=r"^open\.script\.says: 101 bytes wait to be said"):
        script().go_on(pb.Script(says=[pb.Say(text="x" * 101)]), history(0))


def live(given: Script, steps: int) -> list[tuple[int, int]]:
    """What begins in so many steps in which the model draws nothing but padding."""
    events = []
    for step in range(steps):
        event = given.forcing().chance is Chance.ALWAYS
        if (said := given.advance(event, 3).said) is not None:
            events.append((said, step))
    return events


@pytest.mark.parametrize("steps", [20, 60, 110])
def test_another_worker_goes_on_amid_a_long_pause_of_a_dialogue_and_after_it(steps: int) -> None:
    say, first = pb.Say(text='one <break time="5s"/> two', end=True), script(TALKER, pb.MODE_DIALOGUE)
    first.add(say)
    events = live(first, steps)
    second = script(TALKER, pb.MODE_DIALOGUE)
    second.go_on(pb.Script(says=[say], begun=begun(*events)), history(steps, model=TALKER))
    assert live(second, 100) == live(first, 100)


def test_pauses_of_hours_are_not_taken_again_step_by_step() -> None:
    """Whoever claims that they came before the history would hold up everybody else."""
    count, given = 200, Script(TALKER, rules(), pb.MODE_DIALOGUE, 10_000)
    given.add(say := pb.Say(text="one" + '<break time="60s"/>' * count, end=True))
    events = live(given, steps := 752 * count)
    with pytest.raises(ProtocolError, match=r"^open\.script\.begun: more than 131072 steps"):
        script(TALKER, pb.MODE_DIALOGUE).go_on(pb.Script(says=[say], begun=begun(*events)), history(steps, 50, TALKER))


def test_a_script_that_claims_more_characters_than_can_be_counted_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"^open\.script\.start: 18446744073709551615 is more than any"):
        script(start=2**64 - 1)
