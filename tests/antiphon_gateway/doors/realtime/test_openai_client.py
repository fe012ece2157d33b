"""openai-python itself against the door."""

from __future__ import annotations

import asyncio
import base64

from openai import AsyncOpenAI

from antiphon_gateway.doors.realtime.door import PATH
from antiphon_gateway.wire.pcm16 import pcm_from_bytes, pcm_to_bytes
from tests.support.gateways import Listener, gateway, utterances
from tools.harness.worker_process import Worker

assert PATH == "/v1/realtime", "as the client has it"


async def test_the_published_client_speaks_and_hears_the_digits(clerk: Worker) -> None:
    utterance, heard, done = utterances()[3], Listener(), 0
    async with gateway([clerk.address]) as server:
        client = AsyncOpenAI(api_key="none", base_url=f"http://{server.address}/v1")
        async with client, client.realtime.connect(model="number-clerk") as connection:
            output = {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "marin"}
            await connection.session.update(
                session={"type": "realtime", "instructions": "Be kind.", "audio": {"output": output}}
            )

            async def say() -> None:
                for at in range(0, len(utterance.samples), 2400):
                    data = pcm_to_bytes(utterance.samples[at : at + 2400])
                    await connection.input_audio_buffer.append(audio=base64.b64encode(data).decode())

            saying = asyncio.create_task(say())
            async for event in connection:
                if event.type == "response.output_audio.delta":
                    heard.sound(pcm_from_bytes(base64.b64decode(event.delta)))
                elif event.type == "response.output_audio_transcript.delta":
                    heard.read(event.delta)
                elif event.type == "response.done":
                    done += 1
                    if done == 2:
                        break
            saying.cancel()
            await asyncio.gather(saying, return_exceptions=True)
    assert heard.says(utterance)
    assert heard.digits() == utterance.digits
