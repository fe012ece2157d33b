"""`antiphon-edge speak`: text from standard input, read aloud as it comes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from antiphon.cli.command_line import option
from antiphon.spec import GREEDY
from antiphon_edge.cli.codec_options import pulled_codec_option, threads_option
from antiphon_edge.cli.connection_options import connection_options
from antiphon_edge.cli.pull_options import Pulling, pull_options
from antiphon_edge.cli.talk_io import loudspeaker
from antiphon_edge.cli.talk_view import plain_watcher
from antiphon_edge.cli.text_input import standard_input, turns
from antiphon_edge.client.connect import connect
from antiphon_edge.client.events import Reply
from antiphon_edge.codec.codec import Codec
from antiphon_edge.talk.speaking import speak
from antiphon_edge.transport.credentials import Credentials


@click.command("speak")
@connection_options
@option(
    "--voice",
    "voices",
    metavar="NAME",
    multiple=True,
    help="Voice of the worker's; give two for a dialogue, in which each line of the text is a turn.",
)
@option("--cfg", type=float, help="How closely to follow voice and text: 1.0 to 4.0 by 0.5, where the model takes it.")
@option("--output-wav", type=click.Path(path_type=Path), help="Write the sound here instead of playing it.")
@option("--output-device", metavar="INDEX|NAME", help="Speaker; the system's default where absent.")
@option("--words", is_flag=True, help="Write each word and its time in the sound, in seconds, to standard output.")
@pull_options
@pulled_codec_option
@threads_option
@option("--seed", type=click.IntRange(0, 2**63 - 1), help="Same seed, same sound; drawn where absent.")
@option("--greedy", is_flag=True, help="Take the likeliest token always, instead of sampling.")
def speak_command(
    server: str,
    credentials: Credentials,
    voices: tuple[str, ...],
    cfg: float | None,
    output_wav: Path | None,
    output_device: str | None,
    words: bool,
    pulling: Pulling,
    codec_folder: Path | None,
    threads: int,
    seed: int | None,
    greedy: bool,
) -> None:
    """Speak: reads standard input aloud, as it comes: a file, or a pipe such as a language model's.

    <break time="0.5s"/> in the text is a pause.
    """
    if sys.stdin.isatty():
        click.echo("type what is to be said; Ctrl-D ends it", err=True)

    def on_reply(reply: Reply) -> None:
        if words and reply.said is not None:
            click.echo(f"{reply.said.start_s:.2f} {reply.said.text}")

    async def main() -> None:
        codec = Codec.load(codec_folder or await pulling.pull(server, credentials), threads=threads)
        watcher = plain_watcher()
        async with (  # the output last: nothing is written where the worker fails
            connect(
                server,
                codec.spec,
                mode="speech",
                seed=seed,
                sampling=GREEDY if greedy else None,
                voice=list(voices) or None,
                conditions=None if cfg is None else {"cfg": f"{cfg:.1f}"},
                credentials=credentials,
                on_change=watcher.on_change,
            ) as session,
            loudspeaker(output_wav, output_device, codec.spec, session.model, False, watcher) as speaker,
        ):
            said = turns(standard_input(), len(voices))
            await speak(session, codec, said, speaker, on_reply, live=output_wav is None)

    asyncio.run(main())
