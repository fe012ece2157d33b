"""`/api/asr-streaming` before a worker whose model listens: what clients of moshi-server send, and are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgpack
import numpy as np
import pytest
import soundfile

from antiphon_edge import Codec, Hearing, WavReader, connect
from antiphon_edge.transcript.words import Words
from antiphon_gateway.doors.moshi_server import file
from antiphon_gateway.server.config import Workers
from antiphon_gateway.wire.opus import OpusWriter
from tests.support.commands import worker
from tests.support.gateways import gateway
from tests.support.sockets import vanish
from tools.harness.worker_process import Worker

SENTENCE = Path(__file__).parents[3] / "sentence.wav"
PATH = "/api/asr-streaming"
RATE_HZ, FRAME = 24_000, 1920
SECOND = [0.0] * RATE_HZ


@pytest.fixture(scope="module")
def ears(golden: Path, tiny_codec: Path) -> Iterator[Worker]:
    with worker("--model", golden / "stt-tiny", "--codec", tiny_codec, "--slots", "2") as started:
        yield started


@pytest.fixture(scope="module")
def sentence() -> list[float]:
    """The sentence's samples at 24 kHz."""
    with WavReader(SENTENCE, RATE_HZ, FRAME) as frames:
        return [float(sample) for frame in frames for sample in frame]


@asynccontextmanager
async def listening(ears: Worker, cache: Path, **config: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """A gateway before the worker, and a client of it."""
    workers = Workers(transcription=(ears.address,), cache=cache)
    async with (
        gateway((), workers=workers, **config) as server,
        aiohttp.ClientSession(f"http://{server.address}") as client,
    ):
        yield client


def packed(kind: str, **fields: Any) -> bytes:
    """As the published clients pack."""
    data: bytes = msgpack.packb({"type": kind, **fields}, use_single_float=True)
    return data


async def told(socket: aiohttp.ClientWebSocketResponse, until: str) -> list[Any]:
    """The messages up to the first of the kind `until`."""
    messages: list[Any] = []
    while not messages or messages[-1]["type"] != until:
        messages.append(msgpack.unpackb(await asyncio.wait_for(socket.receive_bytes(), 60)))
    return messages


async def admitted(client: aiohttp.ClientSession) -> None:
    """Returns once a client gets in, which is as soon as the gateway has seen that another one is gone."""
    first = None
    while first != {"type": "Ready"}:
        async with client.ws_connect(PATH) as socket:
            first = msgpack.unpackb(await asyncio.wait_for(socket.receive_bytes(), 60))
            assert first["type"] in ("Ready", "Error")


async def transcribed(ears: Worker, codec: Path, samples: list[float]) -> list[tuple[str, float]]:
    """The words that the SDK hears in the samples, with their starts."""
    encoder = Codec.load(codec, only="encoder")
    async with connect(ears.address, encoder.spec) as session:
        words = Words(session.model, encoder.spec.frame_s)
        known = []
        for codes in Hearing(encoder, session.model).codes([np.array(samples, np.float32)]):
            await session.send(codes)
            reply = await session.receive()
            assert reply is not None
            known += words.add(reply)
        known += words.end()
    return [(word.text, word.start_s) for word in known if word.end_s is None]


async def test_a_script_hears_the_words_of_the_sdk_and_its_marker_after_them(
    ears: Worker, tiny_codec: Path, tmp_path: Path, sentence: list[float]
) -> None:
    expected = await transcribed(ears, tiny_codec, SECOND + sentence + SECOND)
    assert len(expected) > 10
    key = {"kyutai-api-key": "public_token"}
    async with listening(ears, tmp_path) as client, client.ws_connect(PATH, headers=key) as socket:
        await told(socket, until="Ready")
        await socket.send_bytes(packed("Audio", pcm=SECOND))
        for at in range(0, len(sentence), FRAME):
            await socket.send_bytes(packed("Audio", pcm=sentence[at : at + FRAME]))
        await socket.send_bytes(packed("Audio", pcm=SECOND))
        await socket.send_bytes(packed("Marker", id=7))
        await socket.send_bytes(packed("Audio", pcm=SECOND * 2))
        messages = await told(socket, until="Marker")
    assert messages[-1]["id"] == 7
    words = [message for message in messages if message["type"] == "Word"]
    before = [start_s for _, start_s in expected if start_s < len(sentence) / RATE_HZ + 1]  # the second at the end
    assert len(words) >= len(before)
    assert [(word["text"], word["start_time"]) for word in words] == [
        (text, pytest.approx(start_s)) for text, start_s in expected[: len(words)]
    ]
    steps = [message for message in messages if message["type"] == "Step"]
    assert [step["step_idx"] for step in steps] == list(range(1, len(steps) + 1))
    assert len(steps) == -(-(2 * RATE_HZ + len(sentence)) // FRAME) + 6  # and the delay of the model, half a second
    assert all(len(step["prs"]) == 4 and 0 <= step["prs"][2] <= 1 for step in steps)
    assert max(step["buffered_pcm"] for step in steps) > FRAME  # it came faster than it was heard


async def test_opus_is_heard_too(ears: Worker, tmp_path: Path, sentence: list[float]) -> None:
    opus = OpusWriter(RATE_HZ)
    async with listening(ears, tmp_path) as client, client.ws_connect(f"{PATH}?auth_id=public_token") as socket:
        await told(socket, until="Ready")
        await socket.send_bytes(packed("OggOpus", data=opus.head()))
        for at in range(0, len(sentence), FRAME):
            page = opus.write(np.array(sentence[at : at + FRAME], np.float32))
            await socket.send_bytes(packed("OggOpus", data=page))
        await told(socket, until="Word")


async def test_half_an_ogg_page_costs_nothing_but_itself(ears: Worker, tmp_path: Path, sentence: list[float]) -> None:
    torn, opus = OpusWriter(RATE_HZ), OpusWriter(RATE_HZ)
    async with listening(ears, tmp_path) as client, client.ws_connect(PATH) as socket:
        await told(socket, until="Ready")
        await socket.send_bytes(packed("OggOpus", data=torn.head() + torn.write(np.zeros(FRAME, np.float32))[:40]))
        await socket.send_bytes(packed("OggOpus", data=opus.head()))
        for at in range(0, len(sentence), FRAME):
            page = opus.write(np.array(sentence[at : at + FRAME], np.float32))
            await socket.send_bytes(packed("OggOpus", data=page))
        await told(socket, until="Word")


async def test_text_is_passed_over(ears: Worker, tmp_path: Path) -> None:
    async with listening(ears, tmp_path) as client, client.ws_connect(PATH) as socket:
        await told(socket, until="Ready")
        await socket.send_str("hello")
        await socket.send_bytes(packed("Audio", pcm=SECOND))
        await told(socket, until="Step")


async def test_a_client_too_many_is_told_that_there_are_no_free_channels(ears: Worker, tmp_path: Path) -> None:
    async with listening(ears, tmp_path) as client, client.ws_connect(PATH) as first, client.ws_connect(PATH) as second:
        for socket in (first, second):
            await told(socket, until="Ready")
        async with client.ws_connect(PATH) as third:
            assert await told(third, until="Error") == [{"type": "Error", "message": "no free channels"}]
            assert (await third.receive()).type is aiohttp.WSMsgType.CLOSE
        await first.send_bytes(packed("Audio", pcm=SECOND))  # who is there is not disturbed
        await told(first, until="Step")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xc1", "no msgpack"),
        (packed("Weather"), "'Weather' is no message of speech to text: send Audio, OggOpus or Marker"),
        (packed("Audio", pcm=["loud"]), r"Audio.pcm: expected a list of floats"),
        (packed("Audio", pcm=[20_000.0]), "far beyond full scale"),
    ],
    ids=["noise", "an unknown type", "text as sound", "16-bit sound"],
)
async def test_what_is_no_message_is_told_in_a_sentence_and_frees_the_slot(
    ears: Worker, tmp_path: Path, data: bytes, words: str
) -> None:
    async with listening(ears, tmp_path, calls=1) as client:
        async with client.ws_connect(PATH) as socket:
            await told(socket, until="Ready")
            await socket.send_bytes(data)
            message = (await told(socket, until="Error"))[-1]["message"]
            assert words in message
            assert "\n" not in message
        async with client.ws_connect(PATH) as socket:
            await told(socket, until="Ready")


async def test_ten_minutes_at_once_end_the_connection_and_free_the_slot(ears: Worker, tmp_path: Path) -> None:
    async with listening(ears, tmp_path, calls=1) as client:
        async with client.ws_connect(PATH) as socket:
            await told(socket, until="Ready")
            with suppress(ConnectionError):  # it is cut off while it sends
                await socket.send_bytes(packed("Audio", pcm=SECOND * 600))
        await admitted(client)


async def test_a_client_that_vanishes_frees_its_slot(ears: Worker, tmp_path: Path) -> None:
    async with listening(ears, tmp_path, calls=1) as client:
        socket = await client.ws_connect(PATH)
        await told(socket, until="Ready")
        await socket.send_bytes(packed("Audio", pcm=SECOND))
        await told(socket, until="Step")
        vanish(socket)
        await admitted(client)


async def test_without_a_worker_that_listens_a_client_is_told_so() -> None:
    async with (
        gateway((), workers=Workers()) as server,
        aiohttp.ClientSession(f"http://{server.address}") as client,
        client.ws_connect(PATH) as socket,
    ):
        (message,) = await told(socket, until="Error")
    assert "no worker for speech to text" in message["message"]


async def test_a_worker_that_dies_amid_a_sentence_is_not_noticed(
    ears: Worker, golden: Path, tiny_codec: Path, tmp_path: Path, sentence: list[float]
) -> None:
    expected = await transcribed(ears, tiny_codec, sentence)
    with worker("--model", golden / "stt-tiny", "--codec", tiny_codec) as dying:
        workers = Workers(transcription=(dying.address, ears.address), cache=tmp_path)
        async with (
            gateway((), workers=workers) as server,
            aiohttp.ClientSession(f"http://{server.address}") as client,
            client.ws_connect(PATH) as socket,
        ):
            await told(socket, until="Ready")
            await socket.send_bytes(packed("Audio", pcm=sentence[: len(sentence) // 2]))
            messages = await told(socket, until="Word")
            dying.kill()
            await socket.send_bytes(packed("Audio", pcm=sentence[len(sentence) // 2 :]))
            await socket.send_bytes(packed("Marker", id=0))
            await socket.send_bytes(packed("Audio", pcm=SECOND))
            messages += await told(socket, until="Marker")
    words = [message["text"] for message in messages if message["type"] == "Word"]
    assert len(words) > 10
    assert words == [text for text, _ in expected][: len(words)]


async def test_unmute_sees_whether_the_server_is_up(ears: Worker, tmp_path: Path) -> None:
    async with listening(ears, tmp_path) as client, client.get("/api/build_info") as response:
        assert response.status == 200
    async with (
        gateway((), workers=Workers()) as server,
        aiohttp.ClientSession(f"http://{server.address}") as client,
        client.get("/api/build_info") as response,
    ):
        assert response.status == 503


async def test_a_posted_file_comes_back_as_its_words(
    ears: Worker, tiny_codec: Path, tmp_path: Path, sentence: list[float]
) -> None:
    expected = await transcribed(ears, tiny_codec, sentence)
    async with listening(ears, tmp_path) as client:
        for data in (SENTENCE.read_bytes(), as_flac(tmp_path)):
            async with client.post(PATH, data=data, headers={"kyutai-api-key": "public_token"}) as response:
                assert (response.status, response.content_type) == (200, "application/json")
                messages = await response.json()
            words = [message for message in messages if message["type"] == "Word"]
            assert [(word["text"], word["start_time"]) for word in words] == [
                (text, pytest.approx(start_s)) for text, start_s in expected
            ]
            assert {message["type"] for message in messages} == {"Word", "EndWord"}


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "the body is empty"), (b"no sound at all", "the body"), (b"x" * 3000, "a file of more than 0 MiB")],
)
async def test_a_posted_file_that_is_none_is_one_sentence(
    ears: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, words: str
) -> None:
    monkeypatch.setattr(file, "FILE_BYTES", 2000)
    async with listening(ears, tmp_path, calls=1) as client:
        for _ in range(2):  # the first has given its slot back
            async with client.post(PATH, data=data) as response:
                assert response.status == 400
                message = json.loads(await response.text())["error"]["message"]
                assert words in message
                assert "antiphon-" not in message


def as_flac(folder: Path) -> bytes:
    samples, rate_hz = soundfile.read(SENTENCE, dtype="int16")
    soundfile.write(folder / "sentence.flac", samples, rate_hz)
    return (folder / "sentence.flac").read_bytes()
