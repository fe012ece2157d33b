"""The command line `antiphon-edge`."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np

from antiphon.codes_file import read_codes
from antiphon.command_line import THREADS, Address, different_files, group, option, run
from antiphon.errors import CodecMismatchError
from antiphon.output_file import output_file
from antiphon.spec import GREEDY
from antiphon_edge.audio.devices import list_devices
from antiphon_edge.audio.sound_source import STANDARD_INPUT
from antiphon_edge.audio.wav import WavReader, WavWriter
from antiphon_edge.cli.connection_options import connection_options
from antiphon_edge.cli.ends import loudspeaker, person, progress, say, transcript
from antiphon_edge.cli.pull_options import Pulling, pull_options
from antiphon_edge.client import connect as client
from antiphon_edge.client.connect import Change, Reply, Resumed
from antiphon_edge.codec.codec import Codec
from antiphon_edge.doctor.doctor import DEFAULT_SECONDS, examine, format_report
from antiphon_edge.errors import AudioDeviceError
from antiphon_edge.talk.conversation import talk
from antiphon_edge.talk.latency import format_table
from antiphon_edge.talk.recording import Recorder, Recording
from antiphon_edge.transport.credentials import Credentials

commands = group("Talk to a full-duplex speech model through an Antiphon worker.")

codec_option = option(
    "--codec",
    "codec_folder",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of an exported codec (codec.json, encoder.onnx, decoder.onnx).",
)
pulled_codec_option = option(
    "--codec",
    "codec_folder",
    type=click.Path(path_type=Path),
    help="Folder of an exported codec; pulled from the worker where absent.",
)
threads_option = option("--threads", type=THREADS, default=1, help="Threads for each of the encoder and the decoder.")
channel_option = option(
    "--channel", type=click.IntRange(1), default=1, help="Which channel of the sound is heard, from 1; no others are."
)


@commands.command("encode")
@codec_option
@threads_option
@option(
    "--restart", is_flag=True, help="Start the encoder again after the first frame, as talk does: no model hears it."
)
@channel_option
@click.argument("wav", type=click.Path(path_type=Path), metavar="IN.wav")
@click.argument("codes", type=click.Path(path_type=Path), metavar="OUT.npy")
def encode_command(codec_folder: Path, threads: int, restart: bool, channel: int, wav: Path, codes: Path) -> None:
    """Encode a wav file of any rate, or standard input where it is -, to codes [frames, codebooks]."""
    different_files(wav, codes)
    codec = Codec.load(codec_folder, threads=threads, only="encoder")
    encoder = codec.encoder(restart=restart)
    spec = codec.spec
    with (
        WavReader(wav, spec.sample_rate_hz, spec.frame_samples, channel=channel, warn=say) as reader,
        output_file(codes) as out,
    ):
        frames = progress(reader, reader.frames, wav.name)
        np.save(out, np.stack([encoder.step(pcm) for pcm in frames]))


@commands.command("decode")
@codec_option
@threads_option
@click.argument("codes", type=click.Path(path_type=Path), metavar="IN.npy")
@click.argument("wav", type=click.Path(path_type=Path), metavar="OUT.wav")
def decode_command(codec_folder: Path, threads: int, codes: Path, wav: Path) -> None:
    """Decode codes [frames, codebooks] to a mono wav file."""
    different_files(codes, wav)
    codec = Codec.load(codec_folder, threads=threads, only="decoder")
    decoder = codec.decoder()
    rows = read_codes(codes, codec.spec.codebooks, codec.spec.cardinality)
    with WavWriter(wav, codec.spec.sample_rate_hz) as writer:
        for row in progress(rows, len(rows), codes.name):
            writer.write(decoder.step(row))


@commands.command("devices")
def devices_command() -> None:
    """List the microphones and speakers that talk can use."""
    found = list_devices()
    if not found:
        raise AudioDeviceError("there is no microphone and no speaker here: connect one, or talk with wav files")
    for device in found:
        click.echo(str(device))


@commands.command("doctor")
@connection_options
@pull_options
@pulled_codec_option
@threads_option
@option(
    "--seconds",
    type=click.IntRange(1, 3600),
    default=DEFAULT_SECONDS,
    help="How long to encode and decode, in seconds.",
)
@option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_context
def doctor_command(
    context: click.Context,
    server: str,
    credentials: Credentials,
    pulling: Pulling,
    codec_folder: Path | None,
    threads: int,
    seconds: int,
    as_json: bool,
) -> None:
    """Measure whether this device keeps up with a conversation; exit status 0 if it does, 1 if not."""
    report = examine(codec_folder or asyncio.run(pulling.pull(server, credentials)), threads, seconds)
    click.echo(json.dumps(asdict(report), indent=1) if as_json else format_report(report))
    context.exit(0 if report.keeps_up else 1)


@commands.command("pull")
@connection_options
@pull_options
def pull_command(server: str, credentials: Credentials, pulling: Pulling) -> None:
    """Fetch the worker's codec, check it, and print its folder."""
    folder = asyncio.run(pulling.pull(server, credentials, keep=True))
    Codec.load(folder)
    click.echo(os.fsencode(folder))  # whatever its bytes are


@commands.command("talk")
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
        async with (  # the output last: nothing is written where the input or the worker fails
            person(input_wav, input_device, channel, codec.spec, as_fast_as_possible) as said,
            client.connect(
                [server, *other_servers],
                codec.spec,
                seed=seed,
                sampling=sampling,
                timings=stats,
                credentials=credentials,
                on_change=_print_change,
            ) as session,
            loudspeaker(output_wav, output_device, codec.spec, session.model, as_fast_as_possible) as speaker,
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
            click.echo(format_table(conversation.hops.table()), err=True)

    asyncio.run(main())


def _print_change(change: Change) -> None:
    if isinstance(change, Resumed):
        click.echo(f"\nthe conversation goes on at {change.address} after {change.after_s:.1f} s", err=True)
    elif change.again_in_s:
        click.echo(f"\n{change.reason}; trying again in {change.again_in_s:.1f} s", err=True)
    else:
        click.echo(f"\nreconnecting: {change.reason}", err=True)


@commands.command("replay-recording")
@codec_option
@threads_option
@click.argument("recording", type=click.Path(path_type=Path), metavar="IN.antiphon")
@click.argument("wav", type=click.Path(path_type=Path), metavar="OUT.wav")
def replay_recording_command(codec_folder: Path, threads: int, recording: Path, wav: Path) -> None:
    """Turn a recording into a stereo wav file (the person left, the model right), and print what the model said."""
    read = Recording.read(recording)
    codec = Codec.load(codec_folder, threads=threads, only="decoder")
    if codec.spec.fingerprint != read.codec.fingerprint:
        raise CodecMismatchError(
            f"{codec_folder} is another codec than the one of {recording} ({read.codec.fingerprint.hex()[:16]}): "
            "give the folder of that one"
        )
    person, model = codec.decoder(), codec.decoder()
    silence = np.zeros(codec.spec.frame_samples, np.float32)
    with WavWriter(wav, codec.spec.sample_rate_hz, channels=2) as writer:
        for step in progress(read.steps, len(read.steps), recording.name):
            heard = silence if step.model is None else model.step(step.model[: codec.spec.codebooks])
            writer.write(np.stack((person.step(step.user), heard), 1))
    click.echo(read.transcript())
    if read.torn_bytes:
        click.echo(f"{recording} ends amid a frame ({read.torn_bytes} bytes), which was left out", err=True)


def main() -> None:
    """Entry point of `antiphon-edge`."""
    run(commands, "antiphon-edge")
