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


async def test_people_are_understood_through_a_loudspeaker_as_loud_as_they_are(clerk: Worker, codec: Codec) -> None:
    scenes = people(PEOPLE)
    heard = await converse_all(
        clerk.address, codec, [scene.samples for scene in scenes], Echo(0), VoiceProcessing(), PEOPLE
    )
    result = score(scenes, heard)
    assert (result.exact, result.itself) == (PEOPLE, 0)
    assert result.enhancement_db is not None
    assert result.enhancement_db > 35


async def test_people_are_understood_through_a_loudspeaker_that_clips(clerk: Worker, codec: Codec) -> None:
    scenes = people(PEOPLE)
    heard = await converse_all(
        clerk.address, codec, [scene.samples for scene in scenes], Echo(0, drive=2), VoiceProcessing(), PEOPLE
    )
    result = score(scenes, heard)
    assert result.exact >= PEOPLE - 1
    assert result.itself <= 1
    assert result.enhancement_db is not None
    assert result.enhancement_db > 35


async def test_people_are_understood_where_two_clocks_drift_apart(clerk: Worker, codec: Codec) -> None:
    scenes = people(PEOPLE)
    heard = await converse_all(
        clerk.address, codec, [scene.samples for scene in scenes], Echo(0, skew_ppm=100), VoiceProcessing(), PEOPLE
    )
    result = score(scenes, heard)
    assert result.exact >= PEOPLE - 1
    assert result.itself <= 1
    assert result.enhancement_db is not None
    assert result.enhancement_db > 30


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
