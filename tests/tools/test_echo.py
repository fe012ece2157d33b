"""The number clerk is talked to through a loudspeaker, in lockstep: room and time are simulated, all else is real."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from antiphon_edge import Codec
from antiphon_edge.audio.echo.processor import VoiceProcessing
from antiphon_number_clerk import NUMBER_CLERK
from tests.support.commands import worker
from tools.harness.worker_process import Worker
from tools.talk.echo import interrupting, people, score, score_interruptions
from tools.talk.loop import converse_all
from tools.talk.room import Echo

PEOPLE = 4


@pytest.fixture(scope="module")
def clerk() -> Iterator[Worker]:
    with worker("--model", NUMBER_CLERK, "--slots", "4", "--threads", "1", "--step-budget", "10000") as started:
        yield started


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.load(NUMBER_CLERK / "codec")


@pytest.mark.parametrize(
    ("echo", "missed", "softer_db"),
    [(Echo(0), 0, 35), (Echo(0, drive=2), 1, 35), (Echo(0, skew_ppm=100), 1, 30)],
    ids=["as loud as they are", "that clips", "whose clock is another"],
)
async def test_people_are_understood_through_a_loudspeaker(
    echo: Echo, missed: int, softer_db: float, clerk: Worker, codec: Codec
) -> None:
    scenes = people(PEOPLE)
    tracks = [scene.samples for scene in scenes]
    result = score(scenes, await converse_all(clerk.address, codec, tracks, echo, VoiceProcessing(), PEOPLE))
    assert result.exact >= PEOPLE - missed
    assert result.itself <= missed
    assert result.enhancement_db is not None
    assert result.enhancement_db > softer_db


async def test_a_person_who_interrupts_through_a_loudspeaker_is_understood(clerk: Worker, codec: Codec) -> None:
    scenes = interrupting(people(PEOPLE))
    heard = await converse_all(
        clerk.address, codec, [scene.samples for scene in scenes], Echo(-12), VoiceProcessing(), PEOPLE
    )
    result = score_interruptions(scenes, heard)
    assert result.conversations == PEOPLE
    assert result.stopped >= PEOPLE - 1
    assert result.exact >= PEOPLE - 1


async def test_without_a_canceller_the_clerk_answers_itself(clerk: Worker, codec: Codec) -> None:
    scenes = people(PEOPLE)
    heard = await converse_all(clerk.address, codec, [scene.samples for scene in scenes], Echo(0), None, PEOPLE)
    result = score(scenes, heard)
    assert result.exact == 0
    assert result.itself >= PEOPLE / 2
