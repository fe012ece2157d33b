"""`antiphon-edge talk`: a conversation, live or between files."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from pathlib import Path

import click

from antiphon.cli.command_line import Address, different_files, option
from antiphon.spec import GREEDY
from antiphon_edge.audio.canceller import VoiceProcessing
from antiphon_edge.audio.far_end import FarEnd
from antiphon_edge.audio.sound_source import STANDARD_INPUT
from antiphon_edge.cli.codec_options import channel_option, pulled_codec_option, threads_option
from antiphon_edge.cli.connection_options import connection_options
from antiphon_edge.cli.pull_options import Pulling, pull_options
from antiphon_edge.cli.talk_io import Room, loudspeaker, person, transcript
from antiphon_edge.client.connect import connect
from antiphon_edge.client.events import Change, Reply, Resumed
from antiphon_edge.codec.codec import Codec
from antiphon_edge.talk.conversation import talk
from antiphon_edge.talk.latency import format_table
from antiphon_edge.talk.recording import Recorder
from antiphon_edge.transport.credentials import Credentials


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
@channel_option
@option("--headphones", is_flag=True, help="Nothing of the speaker reaches the microphone: cancel no echo.")
@option("--no-aec", is_flag=True, help="Cancel no echo of the speaker; the same as --headphones.")
@option("--no-ns", is_flag=True, help="Leave noise in what the microphone hears.")
@option("--agc/--no-agc", default=False, show_default=True, help="Raise a soft voice, and what is left of an echo.")
@pull_options
@pulled_codec_option
@threads_option
@option("--seed", type=click.IntRange(0, 2**63 - 1), help="Same seed, same reply; drawn where absent.")
@option("--greedy", is_flag=True, help="Take the likeliest token always, instead of sampling.")
@option("--stats", is_flag=True, help="Print where the frames' time went, on standard error, at the end.")
@option(
    "--record", type=click.Path(path_type=Path), help="Keep the conversation here (.antiphon); see replay-recording."
)
@option(
    "--other-server",
    "other_servers",
    type=Address(),
    multiple=True,
    metavar="HOST:PORT",
    help="Another worker, where the conversation goes on should the first one be lost; may be given several times.",
)
def talk_command(
    server: str,
    credentials: Credentials,
    input_wav: Path | None,
    output_wav: Path | None,
    output_text: Path | None,
    as_fast_as_possible: bool,
    input_device: str | None,
    output_device: str | None,
    channel: int,
    headphones: bool,
    no_aec: bool,
    no_ns: bool,
    agc: bool,
    pulling: Pulling,
    codec_folder: Path | None,
    threads: int,
    seed: int | None,
    greedy: bool,
    stats: bool,
    record: Path | None,
    other_servers: tuple[str, ...],
) -> None:
    """Talk: live through the microphone and the speaker, or from and to wav files.

    A model that only listens needs neither speaker nor --output-wav: what it hears is written as text.
    """
    if as_fast_as_possible and input_wav is None:
        raise click.UsageError("--as-fast-as-possible needs --input-wav and --output-wav")
    for result in (output_wav, output_text):
        if input_wav is not None and result is not None and str(result) != STANDARD_INPUT:
            different_files(input_wav, result)

    async def main() -> None:
        codec = Codec.load(codec_folder or await pulling.pull(server, credentials), threads=threads)
        sampling = GREEDY if greedy else None
        processing = VoiceProcessing(not (headphones or no_aec), not no_ns, agc)
        room = Room(processing, FarEnd(codec.spec.sample_rate_hz))
        async with (  # the output last: nothing is written where the input or the worker fails
            person(input_wav, input_device, channel, codec.spec, as_fast_as_possible, room) as said,
            connect(
                [server, *other_servers],
                codec.spec,
                seed=seed,
                sampling=sampling,
                timings=stats,
                credentials=credentials,
                on_change=_print_change,
            ) as session,
            loudspeaker(output_wav, output_device, codec.spec, session.model, as_fast_as_possible, room) as speaker,
        ):
            speaks = session.model.model_codebooks > 0
            live = output_wav is None and (speaks or input_wav is None)
            with (
                transcript(output_text) as write,
                Recorder(record, session, codec.spec) if record is not None else nullcontext() as recorder,
            ):

                def on_reply(reply: Reply) -> None:
                    write(reply.text)
                    if recorder is not None:
                        recorder.add(reply)

                conversation = await talk(session, codec, said(session.model, live), speaker, on_reply, live=live)
        if session.dropped_frames or conversation.skipped_replies:
            click.echo(
                f"{session.dropped_frames} frames were never heard by the model, "
                f"{conversation.skipped_replies} replies came too late to be played",
                err=True,
            )
        if stats:
            click.echo(format_table(conversation.latency.table()), err=True)

    asyncio.run(main())


def _print_change(change: Change) -> None:
    if isinstance(change, Resumed):
        click.echo(f"\nthe conversation goes on at {change.address} after {change.after_s:.1f} s", err=True)
    elif change.again_in_s:
        click.echo(f"\n{change.reason}; trying again in {change.again_in_s:.1f} s", err=True)
    else:
        click.echo(f"\nreconnecting: {change.reason}", err=True)
