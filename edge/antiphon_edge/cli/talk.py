"""`antiphon-edge talk`: a conversation, live or between files."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from antiphon.cli.command_line import Address, different_files, option
from antiphon.spec import GREEDY
from antiphon_edge.audio.echo.processor import VoiceProcessing
from antiphon_edge.audio.sound_source import STANDARD_INPUT
from antiphon_edge.cli.codec_options import channel_option, pulled_codec_option, threads_option
from antiphon_edge.cli.connection_options import connection_options, other_servers_option
from antiphon_edge.cli.pull_options import Pulling, pull_options
from antiphon_edge.cli.room_options import Room, room_options
from antiphon_edge.cli.settings_option import overruled
from antiphon_edge.cli.sound_options import volume_option
from antiphon_edge.cli.talk_io import check_speaker, loudspeaker, person, say, transcript
from antiphon_edge.cli.talk_view import has_screen, talk_view
from antiphon_edge.cli.view_options import ViewOptions, view_options
from antiphon_edge.client.connect import connect
from antiphon_edge.client.events import Reply
from antiphon_edge.client.reconnect import LIVE
from antiphon_edge.codec.codec import Codec
from antiphon_edge.codec.voice import encode_voice
from antiphon_edge.talk.conversation import Conversation, talk
from antiphon_edge.talk.latency import format_table
from antiphon_edge.talk.recording import Recorder
from antiphon_edge.transport.credentials import Credentials
from antiphon_edge.view.transcriber import Listener, written_down
from antiphon_edge.view.watcher import Watcher

TOLD_S = 1.0  # so long an opening is nothing to speak of


@click.command("talk")
@connection_options
@option(
    "--input-wav",
    type=click.Path(path_type=Path),
    help="Speak this file or pipe instead of the microphone; - for standard input.",
)
@option("--output-wav", type=click.Path(path_type=Path), help="Write the reply here instead of the speaker.")
@option(
    "--output-text",
    type=click.Path(path_type=Path),
    help="Write what the model says here as it comes; to standard output where absent or -.",
)
@option("--as-fast-as-possible", is_flag=True, help="Do not pace --input-wav in real time.")
@option("--input-device", metavar="INDEX|NAME", help="Microphone; the system's default where absent.")
@option("--output-device", metavar="INDEX|NAME", help="Speaker; the system's default where absent.")
@volume_option
@channel_option
@room_options
@pull_options
@pulled_codec_option
@threads_option
@option("--voice", metavar="NAME", help="Voice that the model speaks with, where it takes one; `voices` lists them.")
@option(
    "--voice-wav",
    type=click.Path(path_type=Path),
    help="The same, as a recording of 10 to 20 s; needs the extra antiphon[voice].",
)
@option("--persona", metavar="TEXT", help='Who the model is, where it takes one: "You are a patient teacher."')
@option(
    "--description",
    metavar="VALUE",
    help="How good the translation's voice is to be, for models that are told: very_bad to very_good, the default.",
)
@option("--seed", type=click.IntRange(0, 2**63 - 1), help="Same seed, same reply; drawn where absent.")
@option("--greedy", is_flag=True, help="Take the likeliest token always, instead of sampling.")
@option("--adapter", metavar="NAME", help="Run the model with this adapter of the worker's.")
@option("--stats", is_flag=True, help="Print where the frames' time went, on standard error, at the end.")
@option(
    "--record", type=click.Path(path_type=Path), help="Keep the conversation here (.antiphon); see replay-recording."
)
@option(
    "--transcriber",
    type=Address(),
    metavar="HOST:PORT",
    help="A worker whose model only listens: what you say is shown too, as it hears it.",
)
@view_options
@other_servers_option
def talk_command(
    server: str,
    credentials: Credentials,
    input_wav: Path | None,
    output_wav: Path | None,
    output_text: Path | None,
    as_fast_as_possible: bool,
    input_device: str | None,
    output_device: str | None,
    volume: float,
    channel: int,
    processing: VoiceProcessing,
    pulling: Pulling,
    codec_folder: Path | None,
    threads: int,
    voice: str | None,
    voice_wav: Path | None,
    persona: str | None,
    description: str | None,
    seed: int | None,
    greedy: bool,
    adapter: str | None,
    stats: bool,
    record: Path | None,
    transcriber: str | None,
    other_servers: tuple[str, ...],
    view: ViewOptions,
) -> None:
    """Talk: live through the microphone and the speaker, or from and to wav files.

    A model that only listens needs neither speaker nor --output-wav: what it hears is written as text.
    """
    if as_fast_as_possible and input_wav is None:
        raise click.UsageError("--as-fast-as-possible needs --input-wav and --output-wav")
    voice = None if overruled("voice", by="voice_wav") else voice
    voice_wav = None if overruled("voice_wav", by="voice") else voice_wav
    transcriber = None if overruled("transcriber", by="as_fast_as_possible") else transcriber
    if as_fast_as_possible and transcriber is not None:
        raise click.UsageError("--transcriber hears as you speak: leave --as-fast-as-possible out, or use transcribe")
    if voice is not None and voice_wav is not None:
        raise click.UsageError("--voice and --voice-wav are two voices: give one")
    for result in (output_wav, output_text):
        if input_wav is not None and result is not None and str(result) != STANDARD_INPUT:
            different_files(input_wav, result)

    writes_text = output_text is None or str(output_text) == STANDARD_INPUT
    screen = writes_text and input_wav is None and has_screen(view)

    async def converse(watcher: Watcher) -> None:
        check_speaker(output_wav, output_device)
        codec = Codec.load(codec_folder or await pulling.pull(server, credentials), threads=threads)
        watcher.parts.frame_s = codec.spec.frame_s
        sampling = GREEDY if greedy else None
        done = processing if output_wav is None else replace(processing, echo_cancellation=False)
        room = Room(done, codec.spec) if input_wav is None else None
        spoken = voice if voice_wav is None else encode_voice(codec, voice_wav)
        waiting = None
        if spoken is not None or persona is not None:
            waiting = asyncio.get_running_loop().call_later(TOLD_S, say, "the model hears who it is")
        listener = None
        if transcriber is not None:
            pull = partial(pulling.pull_quietly, transcriber, credentials)
            listener = Listener(transcriber, credentials, pull, codec.spec.sample_rate_hz, threads)
        async with (  # the output last: nothing is written where the input or the worker fails
            written_down(listener, watcher) as written,
            person(input_wav, input_device, channel, codec.spec, as_fast_as_possible, watcher, room=room) as said,
            connect(
                [server, *other_servers],
                codec.spec,
                seed=seed,
                sampling=sampling,
                voice=spoken,
                persona=persona,
                conditions={} if description is None else {"description": description},
                adapter=adapter,
                timings=stats,
                credentials=credentials,
                reconnect=LIVE if output_wav is None else None,
                on_change=watcher.on_change,
            ) as session,
            loudspeaker(
                output_wav, output_device, volume, codec.spec, session.model, as_fast_as_possible, watcher, room
            ) as speaker,
        ):
            if waiting is not None:
                waiting.cancel()
            watcher.connected(session)
            speaks = session.model.model_codebooks > 0
            live = output_wav is None and (speaks or input_wav is None)
            watcher.parts.conversation = conversation = Conversation()
            with (
                transcript(output_text, silent=view.json_lines or screen) as write,
                Recorder(record, session, codec.spec) if record is not None else nullcontext() as recorder,
            ):

                def on_reply(reply: Reply) -> None:
                    write(reply.text)
                    watcher.on_reply(reply)
                    if recorder is not None:
                        recorder.add(reply)

                frames = written(said(session.model, live))
                await talk(session, codec, frames, speaker, on_reply, live=live, conversation=conversation)
        if stats:
            click.echo(format_table(conversation.latency.table()), err=True)

    async def main() -> None:
        reads_input = str(input_wav) == STANDARD_INPUT
        async with talk_view(view, screen=screen, reads_input=reads_input, writes_text=writes_text) as watcher:
            await converse(watcher)

    asyncio.run(main())
