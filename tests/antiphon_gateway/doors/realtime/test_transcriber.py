"""What the person says, written down beside the conversation."""

from __future__ import annotations

import asyncio
from pathlib import Path

from antiphon_gateway.doors.realtime.dialect import GA
from antiphon_gateway.doors.realtime.items import Ids
from antiphon_gateway.doors.realtime.person import TRANSCRIPTION, Person
from antiphon_gateway.server.config import Workers
from tests.support.commands import worker
from tests.support.gateways import gateway, utterances
from tests.support.realtime_client import noise, realtime
from tools.harness.worker_process import Worker


def test_a_word_belongs_to_the_item_in_which_it_began_and_an_item_ends_with_its_last() -> None:
    person = Person(GA, Ids())
    list(person.append(noise(2.0), 2.0, detects=False))
    (first,) = person.heard("one", 0.5)
    committed = list(person.commit())
    list(person.append(noise(2.0), 2.0, detects=False))
    (second,) = person.heard("two", 1.5)  # known late, and said before the commit
    assert list(person.transcribed(1.9)) == []
    (whole,) = person.transcribed(2.0)
    (third,) = person.heard("three", 2.5)
    assert (first["delta"], second["delta"], third["delta"]) == ("one", " two", "three")
    assert first["item_id"] == second["item_id"] == whole["item_id"] == committed[0]["item_id"] != third["item_id"]
    assert whole["transcript"] == "one two"


async def test_a_second_worker_writes_down_what_is_said_to_the_first(
    clerk: Worker, golden: Path, tiny_codec: Path
) -> None:
    """Its model was never trained, so its words are any."""
    with worker("--model", golden / "stt-tiny", "--codec", tiny_codec) as listening:
        workers = Workers((clerk.address,), transcription=(listening.address,))
        async with gateway([], workers=workers) as server, realtime(server.address) as client:
            saying = asyncio.create_task(client.say(utterances()[0].samples))
            completed = await client.until(f"{TRANSCRIPTION}.completed")
            while not client.heard.says(utterances()[0]):
                await client.take()
            saying.cancel()
    deltas = [event["delta"] for event in client.events if event["type"] == f"{TRANSCRIPTION}.delta"]
    committed = next(event for event in client.events if event["type"] == "input_audio_buffer.committed")
    assert completed["item_id"] == committed["item_id"]
    assert deltas
    assert completed["transcript"].split()[0] == deltas[0].split()[0]


async def test_without_a_place_at_the_second_worker_the_conversation_goes_on(
    clerk: Worker, golden: Path, tiny_codec: Path
) -> None:
    with worker("--model", golden / "stt-tiny", "--codec", tiny_codec, "--slots", "1") as listening:
        workers = Workers((clerk.address,), transcription=(listening.address,))
        async with (
            gateway([], workers=workers) as server,
            realtime(server.address) as first,
            realtime(server.address) as client,
        ):
            await first.send("response.create")
            await first.until("response.created")
            heard = await client.answer(utterances()[0].samples)
    (error,) = (event["error"] for event in client.events if event["type"] == "error")
    assert "all 1 slots are taken" in error["message"]
    assert heard.says(utterances()[0])
