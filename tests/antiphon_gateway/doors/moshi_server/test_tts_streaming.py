"""`/api/tts_streaming` before a worker whose model reads aloud: the reference's sound, as moshi-server tells it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
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
from tests.support.gateways import gateway
from tests.support.language_models import expected
from tools.harness.worker_process import Worker

CASE = json.loads((Path(__file__).parents[3] / "golden/tts-tiny/expected.json").read_text())["one_voice"]
QUERY = {"format": "PcmMessagePack", "temperature": "0", "cfg_alpha": str(CASE["cfg"]), "voice": CASE["voices"][0]}
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


async def test_a_text_without_words_ends_in_silence(reader: Worker, tmp_path: Path) -> None:
    async with reading(reader, tmp_path) as client, client.ws_connect(speech.PATH) as socket:
        await socket.send_bytes(packed("Eos"))
        assert await spoken(socket) == [{"type": "Ready"}]
