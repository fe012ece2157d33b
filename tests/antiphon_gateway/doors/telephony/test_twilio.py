"""A telephone call through Twilio: a simulated peer says numbers to the number clerk, and hears them back."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import numpy as np
import pytest

from antiphon.errors import ArgumentError
from antiphon_gateway.doors.telephony.twilio import TwilioAccount
from antiphon_gateway.server.config import Doors
from antiphon_gateway.server.process import Server
from antiphon_gateway.wire.g711 import MU_LAW, RATE_HZ
from antiphon_gateway.wire.twilio.signature import HEADER, sign
from tests.support.commands import worker
from tests.support.deaf_client import deaf
from tests.support.gateways import gateway, utterances
from tests.support.sockets import vanish
from tests.support.telephones import Caller, all_at_work, overheard
from tests.support.time_travel import Clock, until
from tools.harness.worker_process import Worker

URL, TOKEN, STREAM = "wss://voice.example.com/twilio", "a secret", "MZ18ad3ab5"
SIGNED = {HEADER: sign(URL, TOKEN)}
START: dict[str, Any] = {
    "event": "start",
    "start": {
        "streamSid": STREAM,
        "callSid": "CA123",
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {},
    },
    "streamSid": STREAM,
}
CONNECTED = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
STOP = {"event": "stop", "streamSid": STREAM, "stop": {"callSid": "CA123"}}


@pytest.fixture
async def served(clerk: Worker) -> AsyncIterator[Server]:
    async with gateway([clerk.address], doors=Doors(twilio=TwilioAccount(URL, TOKEN))) as server:
        yield server


def spoken(pcm: Any) -> dict[str, Any]:
    payload = base64.b64encode(MU_LAW.encode(pcm)).decode()
    return {"event": "media", "media": {"track": "inbound", "payload": payload}, "streamSid": STREAM}


async def call(client: aiohttp.ClientSession, name: str, caller: Caller) -> None:
    """Carries a call to the end of what its caller says."""
    async with client.ws_connect("/twilio", headers=SIGNED) as socket:

        async def say() -> None:
            await socket.send_json(CONNECTED)
            await socket.send_json(START | {"start": START["start"] | {"callSid": name}})
            async for packet in caller.packets(math.inf):
                await socket.send_json(spoken(packet))

        async def hear() -> None:
            heard = 0
            while heard < len(caller.says) - RATE_HZ:
                received = await asyncio.wait_for(socket.receive(), 60)
                assert received.type is aiohttp.WSMsgType.TEXT, received
                message = json.loads(received.data)
                assert (message["event"], message["streamSid"]) == ("media", STREAM)
                pcm = MU_LAW.decode(base64.b64decode(message["media"]["payload"]))
                heard += len(pcm)
                caller.hears(pcm)

        async with asyncio.TaskGroup() as both:
            both.create_task(say())
            both.create_task(hear())
        await socket.send_json(STOP)
        async for late in socket:
            assert late.type is aiohttp.WSMsgType.TEXT
        assert socket.close_code == aiohttp.WSCloseCode.OK


async def test_nineteen_of_twenty_people_are_answered_with_their_digits(served: Server) -> None:
    callers = {f"CA{number}": Caller(utterance, RATE_HZ) for number, utterance in enumerate(utterances())}
    names = {f"the call {name}": caller for name, caller in callers.items()}
    async with aiohttp.ClientSession(f"http://{served.address}") as client:
        with overheard(names):
            await all_at_work([call(client, name, caller) for name, caller in callers.items()])
    understood = [caller.is_understood for caller in callers.values()]
    heard = [caller.hears_its_digits for caller in callers.values()]
    assert sum(understood) >= 19, understood  # of 4 kHz in µ-law the clerk, who never heard any, mishears one
    assert sum(heard) >= 18, heard


@pytest.mark.parametrize(
    "headers",
    [{}, {HEADER: sign(URL, "another")}, {HEADER: sign("wss://other.example.com/twilio", TOKEN)}],
    ids=["no signature", "another account's", "of another URL"],
)
async def test_who_is_not_twilio_does_not_get_in(served: Server, headers: dict[str, str]) -> None:
    async with (
        aiohttp.ClientSession(f"http://{served.address}") as client,
        client.get("/twilio", headers=headers) as response,
    ):
        assert response.status == 403
        assert "this account has not signed wss://voice.example.com/twilio" in await response.text()


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (["hello"], "the message is no JSON"),
        ([b"hello"], "a binary message"),
        ([json.dumps(spoken(np.zeros(160, np.float32)))], "a message came before start"),
        ([json.dumps(START).replace("8000", "16000")], "start.mediaFormat"),
        ([json.dumps(START), '{"event": "media", "media": {"payload": "AAA"}}'], "media.payload: expected base64"),
    ],
    ids=["no JSON", "binary", "sound before the start", "another rate", "no base64"],
)
async def test_what_twilio_would_not_say_closes_the_call_with_a_sentence(
    served: Server, messages: list[str | bytes], words: str
) -> None:
    async with (
        aiohttp.ClientSession(f"http://{served.address}") as client,
        client.ws_connect("/twilio", headers=SIGNED) as socket,
    ):
        for message in messages:
            await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))
        closed = await asyncio.wait_for(socket.receive(), 60)
    assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.UNSUPPORTED_DATA)
    assert words in (closed.extra or "")


async def test_ten_minutes_of_sound_in_one_message_close_the_call(served: Server) -> None:
    async with (
        aiohttp.ClientSession(f"http://{served.address}") as client,
        client.ws_connect("/twilio", headers=SIGNED) as socket,
    ):
        await socket.send_json(START)
        with suppress(ConnectionError, aiohttp.ClientError):  # it may be closed amid the message
            await socket.send_bytes(bytes(4 * 600 * RATE_HZ // 3))
        ended = await asyncio.wait_for(socket.receive(), 60)
        assert ended.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    await until(lambda: served.gateway.capacity.held == 0)


async def test_a_call_that_breaks_off_frees_its_place(served: Server) -> None:
    async with (
        aiohttp.ClientSession(f"http://{served.address}") as client,
        client.ws_connect("/twilio", headers=SIGNED) as socket,
    ):
        await socket.send_json(START)
        await socket.send_json(spoken(np.zeros(160, np.float32)))
        await until(lambda: served.gateway.capacity.held == 1)
        vanish(socket)
        await until(lambda: served.gateway.capacity.held == 0)


async def test_a_peer_that_never_reads_is_let_go(served: Server, clock: Clock) -> None:
    second = json.dumps(spoken(np.zeros(RATE_HZ, np.float32)))
    async with deaf(served.address, "/twilio", [json.dumps(START)], second, SIGNED):
        await until(lambda: served.gateway.capacity.held == 1)

        def over() -> bool:
            clock.advance(0.1)
            return served.gateway.capacity.held == 0

        await until(over, "the end of the call")


async def test_a_worker_that_dies_in_mid_sentence_is_not_heard_to(clerk: Worker) -> None:
    caller = Caller(utterances()[0], RATE_HZ)
    doors = Doors(twilio=TwilioAccount(URL, TOKEN))
    with worker("--slots", "2") as doomed:
        async with gateway([doomed.address, clerk.address], doors=doors) as server:
            async with aiohttp.ClientSession(f"http://{server.address}") as client:
                with overheard({"the call CA1": caller}):
                    calling = asyncio.create_task(call(client, "CA1", caller))
                    await until(lambda: caller.heard.text.endswith("said"))
                    doomed.kill()
                    doomed.ending = True
                    await calling
            assert server.gateway.watch.metrics.registry.get_sample_value("antiphon_gateway_resumes_total") == 1
    assert caller.is_understood


async def test_without_an_account_there_is_no_door(clerk: Worker) -> None:
    async with (
        gateway([clerk.address]) as server,
        aiohttp.ClientSession(f"http://{server.address}") as client,
        client.get("/twilio", headers=SIGNED) as response,
    ):
        assert response.status == 404


@pytest.mark.parametrize(
    "url", ["https://a.example/twilio", "wss://a.example", "wss:///twilio", "wss://a:x/twilio", "x"]
)
def test_a_url_that_twilio_cannot_stream_to_is_refused(url: str) -> None:
    with pytest.raises(ArgumentError, match="is no URL of a stream: give wss://HOST/twilio"):
        TwilioAccount(url, TOKEN)
