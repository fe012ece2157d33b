"""`/api/tts_streaming` before a worker whose model reads aloud: the reference's sound, as moshi-server tells it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgpack
import numpy as np
import pytest

from antiphon_edge import Codec, pull_codec
from antiphon_gateway.doors.moshi_server import speech
from antiphon_gateway.server.config import Workers
from antiphon_gateway.wire.opus import OpusReader
from tests.support.commands import worker
from tests.support.deaf_client import deaf
from tests.support.gateways import RATE_HZ, gateway
from tests.support.language_models import expected
from tests.support.sockets import vanish
from tests.support.time_travel import Clock, until
from tools.harness.worker_process import Worker

CASE = json.loads((Path(__file__).parents[3] / "golden/tts-tiny/expected.json").read_text())["one_voice"]
QUERY = {"format": "PcmMessagePack", "temperature": "0", "cfg_alpha": str(CASE["cfg"]), "voice": CASE["voices"][0]}
MOST_LATE = 600  # samples that codec and resampler hold back
WORDS = " ".join(CASE["script"]).split()


@asynccontextmanager
async def reading(reader: Worker, cache: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A gateway before the worker, and a client of it."""
    workers = Workers(speech=(reader.address,), cache=cache)
    async with gateway((), workers=workers) as server, aiohttp.ClientSession(f"http://{server.address}") as client:
        yield client


def packed(kind: str, **fields: Any) -> bytes:
    data: bytes = msgpack.packb({"type": kind, **fields})
    return data


async def spoken(socket: aiohttp.ClientWebSocketResponse) -> list[Any]:
    """All messages until the gateway closes."""
    messages = []
    while (message := await asyncio.wait_for(socket.receive(), 60)).type is aiohttp.WSMsgType.BINARY:
        messages.append(msgpack.unpackb(message.data))
    return messages


async def test_a_text_comes_back_as_the_references_sound_and_its_words(reader: Worker, tmp_path: Path) -> None:
    key = {"kyutai-api-key": "public_token"}
    async with reading(reader, tmp_path) as client, client.ws_connect(speech.PATH, params=QUERY, headers=key) as socket:
        for word in WORDS:
            await socket.send_bytes(packed("Text", text=word))
        await socket.send_bytes(packed("Eos"))
        ready, *messages = await spoken(socket)
        assert socket.close_code == aiohttp.WSCloseCode.OK
    assert ready == {"type": "Ready"}
    decoder = Codec.load(await pull_codec(reader.address, tmp_path)).decoder()
    rows = expected("tts-tiny")["one_voice_frames"][CASE["delay_steps"] :, 1:]
    sound = [message["pcm"] for message in messages if message["type"] == "Audio"]
    np.testing.assert_array_equal(np.array(sound, np.float32), [decoder.step(row) for row in rows])
    words = [message for message in messages if message["type"] == "Text"]
    assert [word["text"] for word in words] == [word for word, _ in CASE["transcript"]]
    assert all(word["start_s"] <= word["stop_s"] for word in words)
    assert [word["stop_s"] for word in words[:-1]] == [word["start_s"] for word in words[1:]]


async def test_bare_sound_and_bare_words_are_spoken_too(reader: Worker, tmp_path: Path) -> None:
    query = {"format": "Pcm", "max_seq_len": "3", "seed": "7"}
    async with reading(reader, tmp_path) as client, client.ws_connect(speech.PATH, params=query) as socket:
        await socket.send_str("hello moshi listens to you")
        await socket.send_bytes(b"\0")
        sound = [message.data async for message in socket]
    assert [len(data) for data in sound] == [4 * 1920] * 3


@pytest.mark.parametrize("form", ["OggOpus", "OggOpusMessagePack"])
async def test_compressed_sound_is_the_same_sound(form: str, reader: Worker, tmp_path: Path) -> None:
    async def heard(query: dict[str, str]) -> list[bytes]:
        async with reading(reader, tmp_path) as client, client.ws_connect(speech.PATH, params=query) as socket:
            await socket.send_str(" ".join(WORDS))
            await socket.send_bytes(b"\0")
            return [message.data async for message in socket]

    query = QUERY | {"seed": "7"}
    sound = np.frombuffer(b"".join(await heard(query | {"format": "Pcm"})), "<f4")
    messages = await heard(query | {"format": form})
    if form == "OggOpusMessagePack":
        unpacked = [msgpack.unpackb(message) for message in messages]
        assert {message["type"] for message in unpacked} == {"Ready", "OggOpus", "Text"}
        messages = [bytes(message["data"]) for message in unpacked if message["type"] == "OggOpus"]
    opus = OpusReader(RATE_HZ)
    pcm = np.concatenate([opus.feed(pages) for pages in messages])
    assert abs(len(pcm) - len(sound)) < 0.01 * RATE_HZ
    said = np.clip(sound[: len(pcm) - MOST_LATE], -1, 1)  # a random model is louder than Opus can be
    like = max(float(np.corrcoef(pcm[late : late + len(said)], said)[0, 1]) for late in range(MOST_LATE))
    assert like > 0.5  # noise is what Opus keeps least of, and of another sound there would be none


@pytest.mark.parametrize(
    ("query", "data", "words"),
    [
        ({"voice": "carl"}, None, "'carl'"),
        ({"cfg_alpha": "9"}, None, "cfg"),
        ({}, b"\xc1", "no msgpack"),
        ({}, packed("Weather"), "'Weather' is no message of text to speech"),
        ({}, packed("Voice", embeddings=[0.0], shape=[1]), "a voice's embeddings are not taken here"),
        ({}, packed("Text", text="x" * 5000), "more than 512 characters without white space"),
    ],
    ids=["no such voice", "no such cfg", "noise", "an unknown type", "embeddings", "an endless word"],
)
async def test_what_cannot_be_said_is_told_in_a_sentence(
    reader: Worker, tmp_path: Path, query: dict[str, str], data: bytes | None, words: str
) -> None:
    async with reading(reader, tmp_path) as client, client.ws_connect(speech.PATH, params=query) as socket:
        if data is not None:
            await socket.send_bytes(data)
        messages = await spoken(socket)
    assert messages[-1]["type"] == "Error"
    assert words in messages[-1]["message"]


async def test_a_query_that_cannot_be_is_refused_before_anything_opens(reader: Worker, tmp_path: Path) -> None:
    async with reading(reader, tmp_path) as client, client.get(speech.PATH, params={"seed": "x"}) as response:
        assert response.status == 400
        assert (await response.json())["error"]["message"] == "seed: expected a whole number of 0 or more, got 'x'"


async def test_a_client_too_many_is_told_that_there_are_no_free_channels(reader: Worker, tmp_path: Path) -> None:
    async with reading(reader, tmp_path) as client, client.ws_connect(speech.PATH) as first:
        assert msgpack.unpackb(await first.receive_bytes()) == {"type": "Ready"}
        async with client.ws_connect(speech.PATH) as second:
            assert await spoken(second) == [{"type": "Error", "message": "no free channels"}]


async def test_a_client_that_vanishes_frees_its_slot(reader: Worker, tmp_path: Path) -> None:
    workers = Workers(speech=(reader.address,), cache=tmp_path)
    async with (
        gateway((), workers=workers) as server,
        aiohttp.ClientSession(f"http://{server.address}") as client,
        client.ws_connect(speech.PATH, params=QUERY) as socket,
    ):
        await socket.send_bytes(packed("Text", text=" ".join(WORDS)))
        await socket.receive_bytes()
        vanish(socket)
        await until(lambda: server.gateway.capacity.held == 0)


async def test_a_client_that_never_reads_is_let_go(reader: Worker, tmp_path: Path, clock: Clock) -> None:
    workers = Workers(speech=(reader.address,), cache=tmp_path)
    async with gateway((), workers=workers) as server:
        text = packed("Text", text=" ".join(20 * WORDS))
        async with deaf(server.address, f"{speech.PATH}?format=Pcm", [text, packed("Eos")], None):
            await until(lambda: server.gateway.capacity.held == 1)

            def over() -> bool:
                clock.advance(0.1)
                return server.gateway.capacity.held == 0

            await until(over, "the end of the call")


async def test_a_worker_that_dies_in_mid_sentence_is_not_heard_to(
    reader: Worker, reading_model: Path, tmp_path: Path
) -> None:
    """The rest is read by another worker, and not a sample is missing."""

    async def heard(*addresses: str, on_sound: Callable[[], None] = lambda: None) -> bytes:
        sound = b""
        workers = Workers(speech=addresses, cache=tmp_path)
        async with (
            gateway((), workers=workers) as server,
            aiohttp.ClientSession(f"http://{server.address}") as client,
            client.ws_connect(speech.PATH, params=QUERY | {"format": "Pcm"}) as socket,
        ):
            await socket.send_str(" ".join(WORDS))
            await socket.send_bytes(b"\0")
            async for message in socket:
                sound += message.data
                on_sound()
        return sound

    whole = await heard(reader.address)
    with worker("--model", reading_model, "--slots", "1") as doomed:

        def kill() -> None:
            if not doomed.ending:
                doomed.kill()
                doomed.ending = True

        assert await heard(doomed.address, reader.address, on_sound=kill) == whole


async def test_a_text_without_words_ends_in_silence(reader: Worker, tmp_path: Path) -> None:
    async with reading(reader, tmp_path) as client, client.ws_connect(speech.PATH) as socket:
        await socket.send_bytes(packed("Eos"))
        assert await spoken(socket) == [{"type": "Ready"}]
