"""`/api/chat`: people speak Ogg-Opus to the number clerk and hear the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from antiphon_gateway.server.process import Server
from tests.support.chat_client import chat
from tests.support.gateways import gateway, utterances
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
