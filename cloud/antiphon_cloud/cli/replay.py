"""`replay`: runs a conversation offline, from codes to tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from antiphon.cli.codes_file import read_codes
from antiphon.cli.command_line import different_files, option
from antiphon.cli.output_file import output_file
from antiphon_cloud.cli.options import (
    cache_option,
    device_option,
    dtype_option,
    model_option,
    quantize_option,
    threads_option,
)


@click.command("replay")
@model_option
@option(
    "--user-codes", type=click.Path(path_type=Path), required=True, help="The user's codes: .npy [frames, codebooks]."
)
@option("--out", type=click.Path(path_type=Path), required=True, help="Where `tokens` goes: .npz.")
@option("--greedy", is_flag=True, help="Take the likeliest token always, instead of sampling.")
@option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Same seed, same tokens.")
@option(
    "--silence",
    is_flag=True,
    help="Put the silence around the codes that a speech-to-text model needs to write every word; its tokens come too.",
)
@option("--voice", metavar="NAME", help="Voice of the model's directory that it begins with; none where absent.")
@option(
    "--voice-codes",
    type=click.Path(path_type=Path),
    help="The same as codes: .npy [frames, codebooks], as antiphon-edge encode makes them of a wav; none where absent.",
)
@option("--persona", metavar="TEXT", help="Who the model is, in words; nobody in particular where absent.")
@option(
    "--condition",
    "conditions",
    multiple=True,
    metavar="NAME=VALUE",
    help="What the model is told, such as description=very_bad; may be repeated; the usual values where absent.",
)
@option("--taps", is_flag=True, help="Also keep `text_logits` and `extra_heads` of every step.")
@device_option
@dtype_option
@quantize_option
@cache_option
@threads_option
def replay_command(
    model: Path,
    user_codes: Path,
    out: Path,
    greedy: bool,
    seed: int,
    silence: bool,
    voice: str | None,
    voice_codes: Path | None,
    persona: str | None,
    conditions: tuple[str, ...],
    taps: bool,
    device: str,
    dtype: str | None,
    quantize: str | None,
    kv_cache: str | None,
    threads: int | None,
) -> None:
    """Run a conversation offline and write its tokens [frames − delay, 1 + codebooks]: text, then codes.

    A model that takes a voice and a persona has heard them before the first frame: there is no delay then.
    """
    import numpy as np

    from antiphon.v1 import dialogue_pb2 as pb
    from antiphon_cloud.checkpoint.directory import ModelDirectory
    from antiphon_cloud.checkpoint.load import is_int8
    from antiphon_cloud.codec.silence import with_silence
    from antiphon_cloud.runner.device import named_dtype, step_dtype
    from antiphon_cloud.runner.model_spec import model_spec
    from antiphon_cloud.runner.replay import replay
    from antiphon_cloud.runner.settings import DEFAULT
    from antiphon_cloud.serving.cpu_quota import usable_cpus
    from antiphon_cloud.serving.prompts import offline_prompt

    different_files(user_codes, out)
    chosen = dict(condition.partition("=")[::2] for condition in conditions)
    directory = ModelDirectory.open(model)
    torch_dtype = step_dtype(device, dtype, is_int8(directory, quantize))
    spec = model_spec(directory, torch_dtype)
    sampling = replace(spec.sampling, text_temperature=0.0, audio_temperature=0.0) if greedy else None
    codes = read_codes(user_codes, spec.user_codebooks, spec.cardinality)
    if silence:
        codes = with_silence(directory, codes)
    asked = pb.Prompt(voices=[] if voice is None else [voice], text=persona or "")
    if voice_codes is not None:
        frames = read_codes(voice_codes, spec.model_codebooks, spec.cardinality)
        asked.voice_codes = b"".join(spec.model_packer.pack(frame) for frame in frames)
    prompt = offline_prompt(directory, spec, asked)
    with output_file(out) as file:
        arrays = replay(
            directory,
            codes,
            dtype=torch_dtype,
            device=device,
            quantize=quantize,
            kv_dtype=named_dtype(kv_cache) if kv_cache else None,
            sampling=sampling,
            seed=seed,
            taps=taps,
            threads=threads or usable_cpus(),
            past=None if prompt is None else prompt.rows,
            settings=replace(DEFAULT if prompt is None else prompt.settings, conditions=chosen),
        )
        np.savez(file, **arrays)  # type: ignore[arg-type]
