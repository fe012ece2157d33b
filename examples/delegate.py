"""Asks a larger model when the person says a wake phrase, and has the answer spoken amid the conversation.

python examples/delegate.py localhost:50051 --wake "you said" --llm http://localhost:8000/v1 --input-wav question.wav

The wake phrase is looked for in the text of the session: what the model says, or, with --transcriber, what a worker of
a speech-to-text model hears of the person. The larger model is any server that speaks OpenAI's chat completions.
"""

import argparse
import asyncio
import json
import os
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

from antiphon_edge import Codec, Hearing, Microphone, Reply, Session, Speaker, WavReader, WavWriter, connect, pull_codec
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.talk.conversation import talk
from antiphon_edge.talk.sources import paced

PATIENCE_S = 60.0


def complete(url: str, model: str, heard: str) -> str:
    """What the larger model answers; blocks."""
    messages = [
        {"role": "system", "content": "Answer in one or two short sentences that can be spoken."},
        {"role": "user", "content": heard},
    ]
    request = urllib.request.Request(  # noqa: S310 - the address is the caller's
        f"{url}/chat/completions",
        json.dumps({"model": model, "messages": messages}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', '')}"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:  # noqa: S310
        answer: str = json.load(response)["choices"][0]["message"]["content"]
    return answer


class Delegate:
    """Reads along, asks once a wake phrase was said and a pause has come, and has the answer spoken."""

    def __init__(self, session: Session, wake: str, url: str, model: str) -> None:
        self._session, self._wake, self._url, self._model = session, wake, url, model
        self._text, self._silent = "", 0
        self._answering = False  # what is said is the answer
        self.asking: asyncio.Task[None] | None = None

    def read(self, text: str) -> None:
        """The text of one frame."""
        if self._answering:
            return
        self._text = (self._text + text)[-1000:]
        self._silent = 0 if text else self._silent + 1
        heard = self._text.rpartition(self._wake)[2].strip() if self._wake in self._text else ""
        if heard and self._silent > 12 and (self.asking is None or self.asking.done()):  # a second of it
            self._text = ""
            self.asking = asyncio.create_task(self._ask(heard))

    def answered(self) -> None:
        """The answer was spoken."""
        self._answering = False

    async def _ask(self, heard: str) -> None:
        print(f"\n[asked: {heard}]", flush=True)
        try:
            answer = await asyncio.to_thread(complete, self._url, self._model, heard)
        except OSError as error:  # the conversation goes on without
            print(f"[no answer: {error}]", flush=True)
            return
        print(f"[answered: {answer}]", flush=True)
        self._answering = True
        await self._session.say(answer)
        await self._session.finish_saying()


async def main(arguments: argparse.Namespace) -> None:
    """Talks until the microphone, or the file, ends."""
    codec = Codec.load(await pull_codec(arguments.server))
    rate_hz, samples = codec.spec.sample_rate_hz, codec.spec.frame_samples
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(connect(arguments.server, codec.spec, seed=arguments.seed))
        delegate = Delegate(session, arguments.wake, arguments.llm, arguments.model)
        listener = None
        if arguments.transcriber:
            ears = Codec.load(await pull_codec(arguments.transcriber))
            listener = await stack.enter_async_context(connect(arguments.transcriber, ears.spec, mode="transcription"))
            hearing = Hearing(ears, listener.model)

        def on_reply(reply: Reply) -> None:
            print(reply.text, end="", flush=True)
            if reply.said_all:
                delegate.answered()
            elif listener is None:
                delegate.read(reply.text)

        async def heard(frames: AsyncIterator[Pcm]) -> AsyncIterator[Pcm]:
            async for frame in frames:
                if listener is not None:
                    for part in hearing.frames(frame):
                        await listener.send(hearing.step(part))
                        reply = await listener.receive()
                        delegate.read(reply.text if reply is not None else "")
                yield frame
                if delegate.asking is not None and arguments.input_wav:  # a file does not wait by itself
                    await delegate.asking

        if arguments.input_wav:
            reader = stack.enter_context(WavReader(arguments.input_wav, rate_hz, samples))
            writer = stack.enter_context(WavWriter(arguments.output_wav, rate_hz))
            await talk(session, codec, heard(paced(reader, frame_s=0)), writer.write, on_reply)
        else:
            speaker = await stack.enter_async_context(Speaker(rate_hz))
            microphone = await stack.enter_async_context(Microphone(rate_hz, samples))
            await talk(session, codec, heard(microphone), speaker.write, on_reply, live=True)
    print()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("--wake", required=True, help="the phrase after which the larger model is asked")
    parser.add_argument("--llm", default="http://localhost:8000/v1", help="address of its API (default: %(default)s)")
    parser.add_argument("--model", default="default", help="its name there")
    parser.add_argument("--transcriber", help="HOST:PORT of a worker whose model listens")
    parser.add_argument("--input-wav", type=Path, help="instead of the microphone")
    parser.add_argument("--output-wav", type=Path, default=Path("reply.wav"))
    parser.add_argument("--seed", type=int)
    asyncio.run(main(parser.parse_args()))
