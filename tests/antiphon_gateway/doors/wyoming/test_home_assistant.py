"""Wyoming's speech to text and text to speech, as Home Assistant asks for them: with the library's own client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event, Eventable
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)

from antiphon.address import split_address
from antiphon_gateway.doors.wyoming.info import NAME
from antiphon_gateway.server.config import Doors, Workers
from tests.support.commands import worker
from tests.support.gateways import gateway
from tools.harness.worker_process import Worker

SENTENCE = Path(__file__).parents[3] / "sentence.wav"
DOORS = Doors(wyoming="127.0.0.1:0", languages=("en", "fr"))


@pytest.fixture(scope="module")
def ears(golden: Path, tiny_codec: Path) -> Iterator[Worker]:
    with worker("--model", golden / "stt-tiny", "--codec", tiny_codec, "--slots", "1") as started:
        yield started


@pytest.fixture
async def address(ears: Worker, reader: Worker, tmp_path: Path) -> AsyncIterator[tuple[str, int]]:
    workers = Workers(transcription=(ears.address,), speech=(reader.address,), cache=tmp_path)
    async with gateway((), workers=workers, doors=DOORS) as server:
        yield split_address(server.tcp_addresses["Wyoming"])


@asynccontextmanager
async def home(address: tuple[str, int]) -> AsyncIterator[AsyncTcpClient]:
    """A client of Home Assistant's kind."""
    async with AsyncTcpClient(*address) as client:
        yield client


async def told(client: AsyncTcpClient, until: type[Eventable]) -> list[Event]:
    """The events up to the first of the kind `until`."""
    events: list[Event] = []
    while not events or not until.is_type(events[-1].type):
        event = await asyncio.wait_for(client.read_event(), 60)
        assert event is not None
        events.append(event)
    return events


async def say(client: AsyncTcpClient, samples: Any, rate_hz: int, channels: int = 1) -> None:
    await client.write_event(Transcribe(language="en").event())
    await client.write_event(AudioStart(rate_hz, 2, channels).event())
    data = samples.astype("<i2").tobytes()
    for at in range(0, len(data), 4096):
        await client.write_event(AudioChunk(rate_hz, 2, channels, data[at : at + 4096]).event())
    await client.write_event(AudioStop().event())


async def test_what_is_served_is_described(address: tuple[str, int]) -> None:
    async with home(address) as client:
        await client.write_event(Describe().event())
        info = Info.from_event((await told(client, Info))[-1])
    assert [model.languages for model in info.asr[0].models] == [["en", "fr"]]
    assert info.asr[0].supports_transcript_streaming
    assert [voice.name for voice in info.tts[0].voices] == ["anna", "ben"]
    assert info.tts[0].supports_synthesize_streaming
    assert {program.name for program in (*info.asr, *info.tts)} == {NAME}


async def test_a_ping_is_answered(address: tuple[str, int]) -> None:
    async with home(address) as client:
        await client.write_event(Ping("hello").event())
        assert Pong.from_event((await told(client, Pong))[-1]).text == "hello"


async def test_a_sentence_is_transcribed_in_parts_and_whole_turn_after_turn(address: tuple[str, int]) -> None:
    samples, rate_hz = soundfile.read(SENTENCE, dtype="int16")
    stereo = np.stack([samples, np.zeros_like(samples)], axis=1)
    async with home(address) as client:
        texts = []
        for sound, channels in ((samples, 1), (stereo, 2)):
            await say(client, sound, rate_hz, channels)
            first, *chunks, whole, _ = await told(client, TranscriptStop)
            assert TranscriptStart.is_type(first.type)
            texts.append(Transcript.from_event(whole).text)
            assert "".join(TranscriptChunk.from_event(chunk).text for chunk in chunks).strip() == texts[-1]
    assert len(texts[0].split()) > 10
    assert texts[1] == texts[0]


async def test_a_text_is_read_aloud_whole(address: tuple[str, int]) -> None:
    async with home(address) as client:
        await client.write_event(Synthesize("hello moshi", SynthesizeVoice("ben")).event())
        first, *chunks, _ = await told(client, AudioStop)
    assert AudioStart.from_event(first) == AudioStart(24_000, 2, 1)
    sound = [AudioChunk.from_event(chunk) for chunk in chunks]
    assert {chunk.samples for chunk in sound} == {1920}
    assert len(sound) > 3


async def test_a_text_is_read_aloud_as_it_comes(address: tuple[str, int]) -> None:
    async with home(address) as client:
        await client.write_event(SynthesizeStart().event())
        for part in ("hel", "lo mo", "shi"):
            await client.write_event(SynthesizeChunk(part).event())
        await client.write_event(Synthesize("hello moshi").event())  # once more, for servers that know no parts
        await client.write_event(SynthesizeStop().event())
        first, *chunks, stop, _ = await told(client, SynthesizeStopped)
        assert AudioStart.is_type(first.type)
        assert AudioStop.is_type(stop.type)
        assert len(chunks) > 3
        await client.write_event(Describe().event())  # the connection goes on
        await told(client, Info)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Event("run-pipeline"), "'run-pipeline' is no event of speech to text or text to speech"),
        (Synthesize("").event(), "has no words"),
        (Event("synthesize", {"text": 3}), "synthesize.text: expected a string"),
        (Synthesize("hello", SynthesizeVoice("carl")).event(), "'carl'"),
        (Event("synthesize", {"text": "hello", "text_format": "ssml"}), "SSML is not read here"),
        (AudioStart(16_000, 4, 1).event(), "1 channels of 32 bits at 16000 Hz are not taken"),
        (Event("audio-start", {"rate": "x"}), "audio-start.rate: expected a whole number"),
    ],
    ids=["an unknown type", "no words", "no text", "no such voice", "markup", "32-bit sound", "no rate"],
)
async def test_what_cannot_be_done_is_an_error_and_the_connection_goes_on(
    address: tuple[str, int], event: Event, words: str
) -> None:
    async with home(address) as client:
        await client.write_event(event)
        assert words in Error.from_event((await told(client, Error))[-1]).text
        await client.write_event(Describe().event())
        await told(client, Info)


async def test_what_is_not_wyoming_is_told_so_and_the_connection_ends(address: tuple[str, int]) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET / HTTP/1.1\r\n")
    said = await asyncio.wait_for(reader.read(-1), 60)
    assert b"is it Wyoming that speaks here?" in said
    writer.close()


async def test_a_client_too_many_is_told_so_and_one_that_vanishes_frees_its_slot(address: tuple[str, int]) -> None:
    async with home(address) as first:
        await first.write_event(AudioStart(16_000, 2, 1).event())
        await told(first, TranscriptStart)
        async with home(address) as second:
            await second.write_event(AudioStart(16_000, 2, 1).event())
            assert (await told(second, Error))[-1].data["code"] == "resource_exhausted"
    for _ in range(50):
        async with home(address) as third:
            await third.write_event(AudioStart(16_000, 2, 1).event())
            event = await asyncio.wait_for(third.read_event(), 60)
            if event is not None and TranscriptStart.is_type(event.type):
                return
    pytest.fail("the slot stays taken")
