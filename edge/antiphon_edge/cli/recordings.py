"""`antiphon-edge replay-recording`: a recorded conversation as sound and text."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from antiphon.errors import CodecMismatchError
from antiphon_edge.audio.wav import WavWriter
from antiphon_edge.cli.codec_options import codec_option, threads_option
from antiphon_edge.cli.talk_io import progress
from antiphon_edge.codec.codec import Codec
from antiphon_edge.talk.recording import Recording


@click.command("replay-recording")
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
