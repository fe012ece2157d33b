"""The flags of every command that loads a codec."""

from __future__ import annotations

from pathlib import Path

import click

from antiphon.cli.command_line import THREADS, option

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
