"""`/v1/realtime`: people speak to the number clerk through the API of turns."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import numpy as np
import pytest
import soxr

from antiphon_gateway.access.admission import Limits, Rules
from antiphon_gateway.doors.realtime.door import MESSAGE_BYTES, PATH
from antiphon_gateway.server.process import Server
from antiphon_gateway.wire.formats import OPUS, PCMA, PCMU, Format
from antiphon_gateway.wire.opus import OpusWriter
from tests.support.commands import worker
from tests.support.deaf_client import deaf
from tests.support.gateways import RATE_HZ, gateway, utterances
from tests.support.realtime_client import RealtimeClient, realtime
from tests.support.sockets import vanish
from tests.support.time_travel import Clock, until
from tools.harness.worker_process import Worker

RESPONSE = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
]


@pytest.fixture
async def served(clerk: Worker) -> AsyncIterator[Server]:
    async with gateway([clerk.address]) as server:
        yield server


def of_the_response(client: RealtimeClient) -> list[str]:
    """The kinds of events of the first response, each once, in order."""
    response = next(event["response"]["id"] for event in client.events if event["type"] == "response.created")
    item = next(
        event["item_id"] for event in client.events if event.get("response_id") == response and "item_id" in event
    )
    mine = [
        event["type"]
        for event in client.events
        if response in (event.get("response_id"), event.get("response", {}).get("id"))
        or event.get("item", {}).get("id") == item
    ]
    return list(dict.fromkeys(mine))


async def test_all_twenty_people_are_answered_with_their_digits(served: Server) -> None:
    room = asyncio.Semaphore(4)

    async def one(number: int) -> bool:
        utterance = utterances()[number]
        async with room, realtime(served.address) as client:
            heard = await client.answer(utterance.samples)
        return heard.says(utterance) and heard.digits() == utterance.digits

    right = await asyncio.gather(*(one(number) for number in range(20)))
    assert sum(right) == 20, right


async def test_the_events_of_a_response_come_in_the_order_of_the_ga_api(served: Server) -> None:
    async with realtime(served.address) as client:
        await client.answer(utterances()[1].samples)
    assert client.kinds()[0] == "session.created"
    assert of_the_response(client) == RESPONSE
    done = [event["response"] for event in client.events if event["type"] == "response.done"]
    assert [response["output"][0]["content"][0]["transcript"] for response in done] == ["ready", "you said six four"]
    assert {response["status"] for response in done} == {"completed"}
    names = [event["event_id"] for event in client.events]
    assert len(set(names)) == len(names)


async def test_a_person_who_speaks_is_seen_to_and_what_they_said_becomes_an_item(served: Server) -> None:
    async with realtime(served.address) as client:
        await client.answer(utterances()[1].samples)
    started, stopped, committed = (
        next(event for event in client.events if event["type"] == f"input_audio_buffer.{kind}")
        for kind in ("speech_started", "speech_stopped", "committed")
    )
    assert started["item_id"] == stopped["item_id"] == committed["item_id"]
    assert started["audio_start_ms"] == pytest.approx(1000 * utterances()[1].start_s, abs=300)
    assert stopped["audio_end_ms"] > started["audio_start_ms"]


async def test_the_betas_names_are_spoken_to_who_asks_for_them(served: Server) -> None:
    async with realtime(served.address, headers={"OpenAI-Beta": "realtime=v1"}) as client:
        await client.send("session.update", session={"input_audio_format": "pcm16", "modalities": ["text", "audio"]})
        heard = await client.answer(utterances()[0].samples)
    assert heard.says(utterances()[0])
    assert {"response.audio.delta", "response.audio_transcript.done", "conversation.item.created"} <= set(
        client.kinds()
    )
    assert not any("output_audio" in kind or kind == "conversation.item.added" for kind in client.kinds())
    updated = next(event["session"] for event in client.events if event["type"] == "session.updated")
    assert (updated["input_audio_format"], updated["modalities"]) == ("pcm16", ["text", "audio"])


async def test_unmutes_page_sends_and_hears_opus_and_reads_whole_words(served: Server) -> None:
    utterance = utterances()[0]
    async with realtime(served.address, sound=OPUS, protocols=["realtime"]) as client:
        assert client.socket.protocol == "realtime"
        asked = {"instructions": {"type": "constant", "text": "Be kind."}, "voice": "unmute-prod-website/a.wav"}
        await client.send("session.update", session=asked | {"allow_recording": False})
        await client.until("session.updated")
        await client.answer(utterance.samples)
    words = [event["delta"] for event in client.events if event["type"] == "response.text.delta"]
    assert words == ["ready", "you", "said", *utterance.digits]
    assert client.heard.heard_s > 1.0


@pytest.mark.parametrize("sound", [PCMU, PCMA], ids=lambda sound: sound.name)
async def test_a_telephones_sound_is_understood(sound: Format, served: Server) -> None:
    utterance = utterances()[2]
    async with realtime(served.address, sound=sound) as client:
        kind = {"format": {"type": sound.name}}
        await client.send("session.update", session={"type": "realtime", "audio": {"input": kind, "output": kind}})
        heard = await client.answer(soxr.resample(utterance.samples, RATE_HZ, sound.rate_hz).astype(np.float32))
    assert heard.text.strip().startswith("ready you said")
    assert heard.heard_s * RATE_HZ / sound.rate_hz > 1.0


async def test_what_a_client_writes_is_said(served: Server) -> None:
    async with realtime(served.address) as client:
        content = [{"type": "input_text", "text": "you said one two three"}]
        await client.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        while "three" not in client.heard.text:
            await client.take()
    assert "you said one two three" in client.heard.text
    added = next(event["item"] for event in client.events if event["type"] == "conversation.item.added")
    assert added["content"] == content or added["role"] == "assistant"


async def test_of_a_past_that_is_written_down_again_nothing_is_said(served: Server) -> None:
    async with realtime(served.address) as client:
        past = [("user", "you said five"), ("assistant", "you said five five"), ("user", "you said one two three")]
        for role, text in past:
            kind = "output_text" if role == "assistant" else "input_text"
            content = [{"type": kind, "text": text}]
            await client.send("conversation.item.create", item={"type": "message", "role": role, "content": content})
        await client.send("response.create")
        while "three" not in client.heard.text:
            await client.take()
    assert "five" not in client.heard.text
    added = [event for event in client.events if event["type"] == "conversation.item.added"]
    assert [event["previous_item_id"] for event in added] == [None, *(event["item"]["id"] for event in added[:-1])]


async def test_a_response_carries_the_metadata_with_which_it_was_asked_for_and_ends_the_one_before(
    served: Server,
) -> None:
    asked = [{"metadata": {"mine": "1"}}, {"metadata": {"mine": "2"}}, {}]
    async with realtime(served.address) as client:
        for number, response in enumerate(asked, 1):
            await client.send("response.create", response=response)
            await client.until("response.created", number)
    told = [event["response"] for event in client.events if "response" in event]
    assert [(response["status"], response["metadata"]) for response in told] == [
        ("in_progress", {"mine": "1"}),
        ("completed", {"mine": "1"}),
        ("in_progress", {"mine": "2"}),
        ("completed", {"mine": "2"}),
        ("in_progress", None),
    ]


async def test_an_item_that_is_deleted_is_forgotten_by_those_that_follow(served: Server) -> None:
    async with realtime(served.address) as client:
        mine = {
            "id": "mine",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "hi"}],
        }
        await client.send("conversation.item.create", item=mine)
        await client.send("conversation.item.delete", item_id="mine")
        assert (await client.until("conversation.item.deleted"))["item_id"] == "mine"
        await client.send("conversation.item.create", item=mine | {"id": "other"})
        assert (await client.until("conversation.item.added", 2))["previous_item_id"] is None
        await client.send("conversation.item.delete")
        assert "expected the name of an item" in (await client.until("error"))["error"]["message"]


async def test_a_response_that_is_cancelled_is_told_so_and_the_session_goes_on(served: Server) -> None:
    async with realtime(served.address) as client:
        await client.send("response.create")
        await client.until("response.output_audio.delta")
        await client.send("response.cancel")
        cancelled = await client.until("response.done")
        assert cancelled["response"]["status"] == "cancelled"
        await client.send("response.cancel")
        error = (await client.until("error"))["error"]
        assert error["message"] == "Cancellation failed: there is no response to cancel"
        assert error["code"] == "response_cancel_not_active"
        await client.answer(utterances()[0].samples)
        assert client.heard.says(utterances()[0])


async def test_in_duplex_one_response_stays_open(served: Server) -> None:
    async with realtime(served.address, "duplex=1") as client:
        saying = asyncio.create_task(client.say(utterances()[0].samples))
        while not client.heard.says(utterances()[0]):
            await client.take()
        saying.cancel()
    assert client.kinds().count("response.created") == 1
    assert "response.done" not in client.kinds()
    assert client.heard.heard_s > 3.0


async def test_the_buffer_is_committed_and_cleared_by_a_client_that_detects_for_itself(served: Server) -> None:
    async with realtime(served.address) as client:
        await client.send("session.update", session={"audio": {"input": {"turn_detection": None}}})
        await client.send("input_audio_buffer.commit", event_id="mine")
        error = (await client.until("error"))["error"]
        assert (error["event_id"], error["type"]) == ("mine", "invalid_request_error")
        assert error["code"] == "input_audio_buffer_commit_empty"
        assert "the buffer is empty" in error["message"]
        await client.say(utterances()[0].samples[: 3 * RATE_HZ])
        await client.send("input_audio_buffer.commit")
        await client.until("input_audio_buffer.committed")
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
    assert "input_audio_buffer.speech_started" not in client.kinds()


def append(audio: str) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio})


def update(session: object) -> str:
    return json.dumps({"type": "session.update", "session": session})


def item(**fields: object) -> str:
    return json.dumps({"type": "conversation.item.create", "item": fields})


WRONG = {
    "what is no JSON": ("hello", "no JSON object"),
    "a list": ("[1]", "no JSON object"),
    "an unknown type": (json.dumps({"type": "session.fly"}), "does nothing with 'session.fly'"),
    "no type": ("{}", "does nothing with 'None'"),
    "sound that is no base64": (append("!!!"), "no base64"),
    "half a sample": (append("AAAA"), "half a 16-bit sample"),
    "no sound": (json.dumps({"type": "input_audio_buffer.append"}), "expected sound in base64"),
    "a format that there is not": (update({"input_audio_format": "mp3"}), "audio format 'mp3'"),
    "a session that is none": (update("me"), "session: expected an object"),
    "another rate": (
        update({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 8000}}}}),
        "rate 8000 of audio/pcm: it has 24000",
    ),
    "a function's result": (item(type="function_call_output"), "expected a message of one of"),
    "a picture": (item(type="message", role="user", content=[{"type": "input_image"}]), "expected text"),
    "an item without content": (item(type="message", role="user"), "expected a list of parts"),
}


async def test_whatever_is_wrong_gets_an_error_event_and_the_session_goes_on(served: Server) -> None:
    async with realtime(served.address) as client:
        for number, (message, words) in enumerate(WRONG.values(), 1):
            await client.socket.send_str(message)
            assert words in (await client.until("error", number))["error"]["message"]
        await client.socket.send_bytes(b"\x00\x01")
        assert "a binary message" in (await client.until("error", len(WRONG) + 1))["error"]["message"]
        assert (await client.answer(utterances()[0].samples)).says(utterances()[0])


async def test_half_an_ogg_page_and_bytes_that_are_none_cost_nothing_but_themselves(served: Server) -> None:
    utterance, torn = utterances()[0], OpusWriter(RATE_HZ)
    async with realtime(served.address, sound=OPUS, protocols=["realtime"]) as client:
        for data in (torn.head() + torn.write(np.zeros(1920, np.float32))[:40], bytes(range(256))):
            await client.send("input_audio_buffer.append", audio=base64.b64encode(data).decode())
        await client.answer(utterance.samples)
    words = [event["delta"] for event in client.events if event["type"] == "response.text.delta"]
    assert words == ["ready", "you", "said", *utterance.digits]
    assert "error" not in client.kinds()


async def test_a_client_that_vanishes_frees_its_place(served: Server) -> None:
    async with realtime(served.address) as client:
        await client.say(np.zeros(RATE_HZ, np.float32))
        await until(lambda: served.gateway.capacity.held == 1)
        vanish(client.socket)
        await until(lambda: served.gateway.capacity.held == 0)


async def test_the_persona_stays_once_sound_was_sent_and_the_same_again_does_no_harm(served: Server) -> None:
    async with realtime(served.address) as client:
        await client.send("session.update", session={"instructions": "Be kind."})
        await client.say(np.zeros(4800, np.float32))
        await client.send("session.update", session={"instructions": "Be a pirate."})
        assert "open another session" in (await client.until("error"))["error"]["message"]
        await client.send("session.update", session={"instructions": "Be kind."})
        assert (await client.until("session.updated", 2))["session"]["instructions"] == "Be kind."


async def test_ten_minutes_of_sound_in_one_message_are_too_many(served: Server) -> None:
    ten_minutes = base64.b64encode(bytes(2 * 600 * RATE_HZ)).decode()
    assert len(ten_minutes) > MESSAGE_BYTES
    async with realtime(served.address) as client:
        await client.until("session.created")
        with suppress(ConnectionError, aiohttp.ClientError):  # it may be closed amid the message
            await client.send("input_audio_buffer.append", audio=ten_minutes)
        ended = await client.socket.receive()
    assert ended.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    async with realtime(served.address) as client:
        assert (await client.answer(utterances()[0].samples)).says(utterances()[0])


async def test_a_client_that_never_reads_is_let_go_and_others_are_not_disturbed(served: Server, clock: Clock) -> None:
    silence = append(base64.b64encode(bytes(2 * RATE_HZ)).decode())
    async with deaf(served.address, f"{PATH}?duplex=1", [], silence):
        async with realtime(served.address) as client:
            assert (await client.answer(utterances()[0].samples)).says(utterances()[0])
        await until(lambda: served.gateway.capacity.held == 1)

        def over() -> bool:
            clock.advance(0.1)
            return served.gateway.capacity.held == 0

        await until(over, "the end of the call")


async def test_a_worker_that_dies_in_mid_sentence_is_not_heard_to(clerk: Worker) -> None:
    utterance = utterances()[8]
    with worker("--slots", "2") as doomed:
        async with gateway([doomed.address, clerk.address]) as server, realtime(server.address) as client:
            saying = asyncio.create_task(client.say(utterance.samples))
            while not client.heard.text.endswith("said"):
                await client.take()
            doomed.kill()
            doomed.ending = True
            await client.until("response.done", 2)
            saying.cancel()
    assert client.heard.says(utterance)
    assert client.heard.digits() == utterance.digits


async def test_a_token_opens_one_session_with_the_settings_that_it_was_made_with(served: Server) -> None:
    asked = {"session": {"type": "realtime", "instructions": "Be kind."}, "expires_after": {"seconds": 30}}
    async with aiohttp.ClientSession() as http:
        async with http.post(f"http://{served.address}{PATH}/client_secrets", json=asked) as answer:
            token = await answer.json()
        protocols = ["realtime", f"openai-insecure-api-key.{token['value']}"]
        async with realtime(served.address, protocols=protocols) as client:
            created = await client.until("session.created")
            assert created["session"]["instructions"] == "Be kind."
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with realtime(served.address, protocols=protocols):
                pass
        assert refused.value.status == 401
        async with http.post(
            f"http://{served.address}{PATH}/client_secrets",
            data="no json",
            headers={"Content-Type": "application/json"},
        ) as answer:
            assert answer.status == 400
            assert (await answer.json())["error"]["message"] == "the request's body is no JSON object"


async def test_who_may_not_come_in_is_told_why_with_the_right_status(clerk: Worker) -> None:
    rules = Rules(origins=("https://friend.example",), limits=Limits(requests_per_minute=3))
    async with gateway([clerk.address], access=rules) as server, aiohttp.ClientSession() as http:
        url = f"http://{server.address}{PATH}/client_secrets"
        async with http.post(url, headers={"Origin": "https://foe.example"}) as answer:
            assert answer.status == 403
            assert "a page of https://foe.example may not connect" in (await answer.json())["error"]["message"]
        async with http.post(url, headers={"Origin": "https://friend.example"}) as answer:
            assert answer.status == 200
        async with http.post(url, headers={"Authorization": "Basic x"}) as answer:
            assert answer.status == 401
        async with http.post(url) as answer:
            assert answer.status == 429
            assert int(answer.headers["Retry-After"]) >= 1


async def test_what_pages_ask_before_they_connect_is_answered(served: Server) -> None:
    async with aiohttp.ClientSession() as http:
        found = {}
        for name in ("health", "voices", "models"):
            async with http.get(f"http://{served.address}/v1/{name}") as answer:
                found[name] = await answer.json()
    assert found["health"]["ok"] is True
    assert found["voices"] == []
    assert [model["id"] for model in found["models"]["data"]] == ["number-clerk"]
