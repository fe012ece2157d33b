"""`antiphon-edge encode` and `decode`: wav files to codes and back."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from antiphon.cli.codes_file import read_codes
from antiphon.cli.command_line import different_files, option
from antiphon.cli.output_file import output_file
from antiphon_edge.audio.wav import WavReader, WavWriter
from antiphon_edge.cli.codec_options import channel_option, codec_option, threads_option
from antiphon_edge.cli.talk_io import progress, say
from antiphon_edge.codec.codec import Codec


@click.command("encode")
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


@click.command("decode")
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
