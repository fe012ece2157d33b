"""`/api/chat`: people speak Ogg-Opus to the number clerk and hear the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import numpy as np
import pytest

from antiphon_gateway.doors.chat import door
from antiphon_gateway.doors.socket import MESSAGE_BYTES
from antiphon_gateway.server.process import Server
from antiphon_gateway.wire.chat import Kind
from antiphon_gateway.wire.ogg import PageWriter
from antiphon_gateway.wire.opus import OpusWriter
from tests.support.chat_client import chat
from tests.support.commands import worker
from tests.support.deaf_client import deaf
from tests.support.gateways import RATE_HZ, gateway, utterances
from tests.support.moshi_client import speak_with
from tests.support.sockets import vanish
from tests.support.stereo import stereo_at_48_khz
from tests.support.time_travel import Clock, until
from tools.harness.worker_process import Worker

PAGE = "text_temperature=0&text_topk=25&audio_temperature=0&audio_topk=250&pad_mult=0&text_seed=7&audio_seed=7"
AT_ONCE = 4


@pytest.fixture
async def served(clerk: Worker) -> AsyncIterator[Server]:
    async with gateway([clerk.address]) as server:
        yield server


async def test_all_twenty_people_are_answered_with_their_digits(served: Server) -> None:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> bool:
        utterance = utterances()[number]
        async with room, chat(served.address, PAGE) as client:
            await client.greet()
            heard = await client.converse(utterance.samples)
        return heard.says(utterance) and heard.digits() == utterance.digits

    right = await asyncio.gather(*(one(number) for number in range(20)))
    assert sum(right) >= 19, right  # what Opus takes of a voice may cost an ear one digit


async def test_the_published_clients_own_code_converses(served: Server) -> None:
    """`moshi.client` of PyPI, whose sound card is a test's."""
    utterance = utterances()[1]
    heard, text = await speak_with(f"http://{served.address}/api/chat", utterance.samples)
    assert text.endswith(utterance.answer)
    assert len(heard) >= len(utterance.samples) - RATE_HZ


async def test_a_page_is_told_of_the_server_before_the_sound(served: Server) -> None:
    async with chat(served.address, PAGE) as client:
        await client.greet()
        assert await client.take() is Kind.METADATA
    told = json.loads(client.metadata)
    assert (told["lm_model_file"], told["text_temperature"], told["build_info"]["git_hash"]) == ("number-clerk", 0, "")


async def test_a_page_that_says_nothing_is_pinged_before_it_hangs_up(served: Server, clock: Clock) -> None:
    async with chat(served.address) as client:
        await client.greet()
        assert await client.take() is Kind.AUDIO  # the stream's head
        await clock.outlast(door.PING_S)
        assert await client.take() is Kind.PING


async def test_a_full_worker_says_so_in_a_sentence_and_hangs_up(clerk: Worker) -> None:
    async with gateway([clerk.address], calls=1) as server, chat(server.address) as first:
        await first.greet()
        async with chat(server.address) as second:
            assert await second.take() is Kind.ERROR
            assert await second.take() is None
    assert second.errors == ["all 1 places of this gateway are taken: try again later"]
    assert second.socket.close_code == aiohttp.WSCloseCode.TRY_AGAIN_LATER


WRONG: dict[str, tuple[bytes | str, str]] = {
    "text where binary is due": ("hello", "takes binary ones"),
    "an empty message": (b"", "an empty message"),
    "a kind that nobody knows": (b"\x63", "a message of kind 99"),
    "sound before the stream has begun": (b"\x01" + PageWriter(1).page([b"\x08 sound"], 0), "without an Ogg page"),
    "a stream of seven channels": (
        b"\x01" + PageWriter(1).page([b"OpusHead\x01\x07" + bytes(9)], 0),
        "one or two channels",
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_no_message_ends_the_call_with_a_sentence(case: str, served: Server) -> None:
    message, words = WRONG[case]
    async with chat(served.address) as client:
        await client.greet()
        if isinstance(message, bytes):
            await client.socket.send_bytes(message)
        else:
            await client.socket.send_str(message)
        while await client.take() is not None:
            pass
    assert len(client.errors) == 1
    assert words in client.errors[0]
    assert served.gateway.capacity.held == 0


@pytest.mark.parametrize("query", ["text_temperature=warm", "audio_topk=-1"])
async def test_a_query_that_cannot_be_is_told_so(query: str, served: Server) -> None:
    async with chat(served.address, query) as client:
        assert await client.take() is Kind.ERROR
    assert client.errors[0].startswith(query.partition("=")[0])


async def test_half_an_ogg_page_and_bytes_that_are_none_cost_nothing_but_themselves(served: Server) -> None:
    utterance = utterances()[0]
    async with chat(served.address, PAGE) as client:
        await client.greet()
        torn = OpusWriter(RATE_HZ)
        await client.socket.send_bytes(b"\x01" + torn.head() + torn.write(np.zeros(1920, np.float32))[:40])
        await client.socket.send_bytes(b"\x01" + bytes(range(256)))
        assert (await client.converse(utterance.samples)).says(utterance)


async def test_opus_at_48_khz_in_stereo_is_heard_in_its_first_channel(served: Server) -> None:
    utterance = utterances()[0]
    async with chat(served.address, PAGE) as client:
        await client.greet()

        async def say() -> None:
            for pages in stereo_at_48_khz(utterance.samples):
                await client.socket.send_bytes(b"\x01" + pages)

        saying = asyncio.create_task(say())
        await client.until(lambda: client.heard.says(utterance))
        saying.cancel()
        await asyncio.gather(saying, return_exceptions=True)


async def test_a_client_that_never_reads_is_let_go(served: Server, clock: Clock) -> None:
    opus = OpusWriter(RATE_HZ)
    second = b"\x01" + opus.head() + opus.write(np.zeros(RATE_HZ, np.float32))  # again and again, a new stream each
    async with deaf(served.address, f"/api/chat?{PAGE}", [], second):
        await until(lambda: served.gateway.capacity.held == 1)

        def over() -> bool:
            clock.advance(0.1)
            return served.gateway.capacity.held == 0

        await until(over, "the end of the call")


async def test_a_message_that_is_too_large_ends_the_call_and_says_what_to_do(served: Server) -> None:
    async with chat(served.address) as client:
        await client.greet()
        await client.socket.send_bytes(b"\x01" + bytes(MESSAGE_BYTES))
        while (message := await client.socket.receive()).type is aiohttp.WSMsgType.BINARY:
            pass
    assert message.type is aiohttp.WSMsgType.CLOSE
    assert message.data == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
    assert "send sound in shorter ones" in str(message.extra)


async def test_a_worker_that_dies_in_mid_sentence_is_not_heard_to(clerk: Worker) -> None:
    """The session goes on at the other worker, and not a sample is missing."""
    utterance = utterances()[8]
    with worker("--slots", "2") as doomed:
        async with gateway([doomed.address, clerk.address]) as server, chat(server.address, PAGE) as client:
            await client.greet()
            saying = asyncio.create_task(client.say(utterance.samples))
            await client.until(lambda: client.heard.text.endswith("said"))
            doomed.kill()
            doomed.ending = True
            await client.until(lambda: client.heard.heard_s >= len(utterance.samples) / RATE_HZ - 0.5)
            await saying
            assert server.gateway.watch.metrics.registry.get_sample_value("antiphon_gateway_resumes_total") == 1
    assert client.heard.says(utterance)
    assert client.heard.digits() == utterance.digits


async def test_a_page_that_is_closed_amid_the_call_frees_its_place(served: Server) -> None:
    async with chat(served.address) as client:
        await client.greet()
        assert served.gateway.capacity.held == 1
        vanish(client.socket)
        await until(lambda: served.gateway.capacity.held == 0)
