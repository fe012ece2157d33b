"""`antiphon-edge transcribe`: speech to text, of a file, a pipe or the microphone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import click

from antiphon.cli.command_line import option
from antiphon.errors import PreconditionError
from antiphon_edge.cli.codec_options import channel_option, pulled_codec_option, threads_option
from antiphon_edge.cli.connection_options import connection_options, other_servers_option
from antiphon_edge.cli.pull_options import Pulling, pull_options
from antiphon_edge.cli.settings_option import overruled
from antiphon_edge.cli.talk_io import person, say
from antiphon_edge.cli.talk_view import plain_watcher
from antiphon_edge.client.connect import connect
from antiphon_edge.client.events import Reply
from antiphon_edge.client.session import Session
from antiphon_edge.codec.codec import Codec
from antiphon_edge.talk.conversation import talk
from antiphon_edge.transcript.formats import Format, json_lines, subrip, timed_text, webvtt
from antiphon_edge.transcript.pauses import Pauses
from antiphon_edge.transcript.words import Words
from antiphon_edge.transport.credentials import Credentials


@click.command("transcribe")
@connection_options
@option("--json", "as_json", is_flag=True, help="Print a JSON object a line, with text and times.")
@option("--srt", is_flag=True, help="Print subtitles as SubRip has them.")
@option("--vtt", is_flag=True, help="Print subtitles as WebVTT has them.")
@option("--words", is_flag=True, help="Print each word by itself, with its times.")
@option("--prompt", "prompt_text", metavar="TEXT", help="Names and words, spelled and written as they are to be.")
@option(
    "--raw",
    "raw_rate_hz",
    type=click.IntRange(1_000, 768_000),
    metavar="HZ",
    help="IN brings bare samples of that rate, 16-bit little endian of one channel; a wav where absent.",
)
@option("--input-device", metavar="INDEX|NAME", help="Microphone; the system's default where absent.")
@channel_option
@pull_options
@pulled_codec_option
@threads_option
@other_servers_option
@click.argument("sound", required=False, type=click.Path(path_type=Path), metavar="[IN]")
def transcribe_command(
    server: str,
    credentials: Credentials,
    as_json: bool,
    srt: bool,
    vtt: bool,
    words: bool,
    prompt_text: str | None,
    raw_rate_hz: int | None,
    input_device: str | None,
    channel: int,
    pulling: Pulling,
    codec_folder: Path | None,
    threads: int,
    other_servers: tuple[str, ...],
    sound: Path | None,
) -> None:
    """Write down what is said in a sound file, in what a pipe brings where IN is -, or live into the microphone.

    The worker's model must be one that only listens. A file is transcribed as fast as the worker goes; a pipe and the
    microphone as they bring sound, until they end or Ctrl-C.
    """
    forms = {"as_json": (json_lines, as_json), "srt": (subrip, srt), "vtt": (webvtt, vtt)}
    chosen = [
        form
        for name, (form, wanted) in forms.items()
        if wanted and not any(overruled(name, by=other) for other in forms if other != name)
    ]
    if len(chosen) > 1:
        raise click.UsageError("--json, --srt and --vtt are three ways to write it: choose one")
    if sound is None and raw_rate_hz is not None:
        raise click.UsageError("--raw says what IN brings: name a file, or - for standard input")

    async def main() -> None:
        folder = codec_folder or await pulling.pull(server, credentials, encoder_only=True)
        codec = Codec.load(folder, threads=threads, only="encoder")
        watcher = plain_watcher()
        async with (
            person(sound, input_device, channel, codec.spec, True, watcher, raw_rate_hz) as said,
            connect(
                [server, *other_servers],
                codec.spec,
                prompt_text=prompt_text,
                credentials=credentials,
                on_change=watcher.on_change,
            ) as session,
        ):
            check_listens(session)
            live = sound is None
            written = (chosen or [timed_text])[0](single=words)
            click.echo(written.begin(), nl=False)
            heard = Words(session.model, codec.spec.frame_s)
            try:
                frames = said(session.model, live)
                await talk(session, codec, frames, lambda pcm: None, writer(heard, written), live=live)
            finally:  # what was heard before an error is worth reading
                click.echo(written.add(heard.end(), pause=False) + written.end(), nl=False)
        if session.dropped_frames:
            say(f"{session.dropped_frames} frames were never heard by the model")

    asyncio.run(main())


def check_listens(session: Session) -> None:
    """Returns where the session's model does nothing but listen.

    Raises:
        PreconditionError: it speaks.
    """
    if session.model.model_codebooks:
        raise PreconditionError(
            f"{session.model.name} at {session.address} speaks, and transcribe needs a model that only listens: "
            "name another worker, or speak to this one with antiphon-edge talk"
        )


def writer(heard: Words, written: Format) -> Callable[[Reply], None]:
    """Writes what each reply adds to the transcript."""
    pauses = Pauses()

    def on_reply(reply: Reply) -> None:
        words = heard.add(reply)
        pause = pauses.add(reply, word=any(word.end_s is None for word in words))
        if text := written.add(words, pause=pause):
            click.echo(text, nl=False)

    return on_reply
