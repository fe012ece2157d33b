"""A bot in 30 lines: microphone to model to speaker, and a program that has a say: it hangs up after a word.

python examples/bot.py localhost:50051 goodbye
"""

import asyncio
import sys
from collections.abc import AsyncIterator

from antiphon_edge import Codec, Microphone, Reply, Speaker, connect, pull_codec
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.talk.conversation import talk


async def main(address: str, last_word: str) -> None:
    """Talks until the model has said `last_word`."""
    codec = Codec.load(await pull_codec(address))
    rate_hz, frame_samples = codec.spec.sample_rate_hz, codec.spec.frame_samples
    said: list[str] = []

    def on_reply(reply: Reply) -> None:
        said.append(reply.text)
        print(reply.text, end="", flush=True)

    async def until_the_last_word(microphone: AsyncIterator[Pcm]) -> AsyncIterator[Pcm]:
        async for frame in microphone:
            yield frame
            if last_word in "".join(said):
                return

    async with connect(address, codec.spec) as session, Speaker(rate_hz) as speaker:
        async with Microphone(rate_hz, frame_samples) as microphone:
            print("listening", flush=True)
            heard = until_the_last_word(microphone)
            await talk(session, codec, heard, speaker.write, on_reply, live=True)
        await speaker.drain()
    print()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
