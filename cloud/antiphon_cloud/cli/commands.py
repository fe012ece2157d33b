"""The command line `antiphon-cloud`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import click
import uvloop

from antiphon.codes_file import read_codes
from antiphon.command_line import THREADS, Address, Number, different_files, group, option, run
from antiphon.output_file import output_file
from antiphon_cloud.cli.exposure_options import exposure_options
from antiphon_cloud.engine.host import ENVIRONMENT
from antiphon_cloud.models import NUMBER_CLERK
from antiphon_cloud.runner.gpus import GPUS, gpu
from antiphon_cloud.sessions.admission import STEP_BUDGET_MS

MAX_SECONDS = 86_400

commands = group("Run and prepare workers for full-duplex speech models.")

model_option = option(
    "--model",
    type=click.Path(path_type=Path),
    default=NUMBER_CLERK,
    show_default="the embedded number clerk",
    help="Model directory, as a published checkpoint's download gives it.",
)
device_option = option(
    "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Where the model is stepped."
)
dtype_option = option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Of activations, and of weights that are not int8. Where absent, float32 for float weights on a CPU and "
    "bfloat16 elsewhere; int8 on a CPU takes activations to 28 bits for float32 (20 without a compiler), and to 14 "
    "otherwise.",
)
quantize_option = option(
    "--quantize",
    type=click.Choice(["none", "int8"]),
    help="What the matrices are held in; as the model directory holds them where absent.",
)
cache_option = option(
    "--kv-cache",
    type=click.Choice(["float32", "bfloat16", "float16", "int8"]),
    help="What keys and values are held in; the activations' type where absent.",
)
step_budget_option = option(
    "--step-budget",
    "step_budget_ms",
    type=Number(0, min_open=True),
    default=STEP_BUDGET_MS,
    help="Milliseconds that a step may take at the 99th percentile: a session that would make it longer is refused.",
)
threads_option = option("--threads", type=THREADS, help="Threads of a step; where absent, as many as make it fastest.")


@commands.command("serve")
@model_option
@option(
    "--listen",
    type=Address(),
    default="127.0.0.1:50051",
    metavar="HOST:PORT",
    help="Address to listen on; port 0 picks one.",
)
@option("--slots", type=click.IntRange(1, 1024), default=4, help="Sessions at once.")
@option("--codec", "codec_folder", type=click.Path(path_type=Path), help="Exported codec; MODEL/codec where absent.")
@option("--random-weights", is_flag=True, help="Tell the edges that the weights were never trained.")
@option("--reflection", is_flag=True, help="Answer gRPC server reflection.")
@option(
    "--drain",
    "drain_s",
    type=Number(0, MAX_SECONDS),
    default=5.0,
    help="Seconds that sessions get to leave on SIGTERM.",
)
@option(
    "--idle-timeout",
    "idle_s",
    type=Number(0.001, MAX_SECONDS),
    default=30.0,
    help="Seconds of silence that end a session.",
)
@exposure_options
@step_budget_option
@option(
    "--keep-slot",
    "keep_slot_s",
    type=Number(0, MAX_SECONDS),
    default=5.0,
    help="Seconds that a session whose stream broke keeps its slot, unless another session needs it.",
)
@option("--eager", is_flag=True, help="On a GPU, do not capture the step as CUDA graphs.")
@device_option
@dtype_option
@quantize_option
@cache_option
@threads_option
def serve_command(
    model: Path,
    listen: str,
    slots: int,
    codec_folder: Path | None,
    random_weights: bool,
    reflection: bool,
    drain_s: float,
    idle_s: float,
    exposure: dict[str, Any],
    step_budget_ms: float,
    keep_slot_s: float,
    eager: bool,
    device: str,
    dtype: str | None,
    quantize: str | None,
    kv_cache: str | None,
    threads: int | None,
) -> None:
    """Serve a model until SIGTERM. The first line on standard output is `listening on HOST:PORT`."""
    from antiphon_cloud.server.process import ServerConfig
    from antiphon_cloud.server.process import run as run_server
    from antiphon_cloud.serving.config import ServingConfig
    from antiphon_cloud.serving.load import load

    server = ServerConfig(listen=listen, reflection=reflection, drain_s=drain_s, **exposure)
    serving = ServingConfig(
        model=model,
        codec=codec_folder,
        slots=slots,
        device=device,
        dtype=dtype,
        quantize=quantize,
        kv_cache=kv_cache,
        graphs=not eager,
        threads=threads,
        random_weights=random_weights,
        idle_timeout_ms=round(idle_s * 1000),
        step_budget_ms=step_budget_ms,
        keep_slot_ms=round(keep_slot_s * 1000),
    )
    uvloop.run(run_server(server, lambda: load(serving), lambda address: print(f"listening on {address}", flush=True)))  # noqa: T201


@commands.command("export-codec")
@model_option
@option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder to write; MODEL/codec where absent, but never the embedded model's.",
)
@option("--codebooks", type=click.IntRange(1), help="Codebooks of a frame; as many as the model hears where absent.")
@option(
    "--precision",
    type=click.Choice(["fp32", "int8"]),
    default="fp32",
    help="int8 is smaller and faster; its codes are those of another rounding.",
)
@option(
    "--report-wav",
    type=click.Path(path_type=Path),
    metavar="IN.wav",
    help="Speech (16-bit wav) to compare int8 with fp32 on: printed, and kept as codec-report.json.",
)
def export_codec_command(
    model: Path, out: Path | None, codebooks: int | None, precision: Literal["fp32", "int8"], report_wav: Path | None
) -> None:
    """Export the model's Mimi codec to ONNX for the edge."""
    if report_wav is not None and precision == "fp32":
        raise click.UsageError("--report-wav compares int8 with fp32: it needs --precision int8")
    if out is None and model.resolve() == NUMBER_CLERK.resolve():
        raise click.UsageError("the embedded number clerk keeps the codec that it came with: give --model or --out")
    from antiphon_cloud.codec.model_codec import export_model_codec

    folder, codec = export_model_codec(model, out, codebooks, precision, report_wav)
    manifest = codec.manifest
    sizes = ", ".join(f"{graph.file} {graph.size_bytes / 1e6:.1f} MB" for graph in (manifest.encoder, manifest.decoder))
    click.echo(f"{folder}: {sizes}; {manifest.codebooks} codebooks of {manifest.cardinality}, {manifest.precision}")
    if codec.report is not None:
        click.echo(str(codec.report))


@commands.command("replay")
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
    taps: bool,
    device: str,
    dtype: str | None,
    quantize: str | None,
    kv_cache: str | None,
    threads: int | None,
) -> None:
    """Run a conversation offline and write its tokens [frames − delay, 1 + codebooks]: text, then codes."""
    import numpy as np

    from antiphon_cloud.checkpoint.directory import ModelDirectory
    from antiphon_cloud.checkpoint.load import is_int8
    from antiphon_cloud.codec.silence import with_silence
    from antiphon_cloud.runner.device import named_dtype, torch_setup
    from antiphon_cloud.runner.replay import replay
    from antiphon_cloud.runner.runner import model_spec
    from antiphon_cloud.serving.cpu_quota import usable_cpus

    different_files(user_codes, out)
    directory = ModelDirectory.open(model)
    torch_dtype = torch_setup(device, dtype, threads or usable_cpus(), is_int8(directory, quantize))
    spec = model_spec(directory, torch_dtype)
    sampling = replace(spec.sampling, text_temperature=0.0, audio_temperature=0.0) if greedy else None
    codes = read_codes(user_codes, spec.user_codebooks, spec.cardinality)
    if silence:
        codes = with_silence(directory, codes)
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
        )
        np.savez(file, **arrays)  # type: ignore[arg-type]


@commands.command("make-key")
@click.argument("name")
@option(
    "--api-keys",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    help="File of keys to add it to; made where there is none.",
)
@option("--sessions", type=click.IntRange(1), help="Sessions at once; what the worker gives every client where absent.")
@option(
    "--opens-per-minute",
    type=Number(0, min_open=True),
    help="Sessions opened in a minute; what the worker gives every client where absent.",
)
@option(
    "--out",
    type=click.Path(path_type=Path),
    help="File to write the key to, which only you may read; it must not exist. The key is printed where absent.",
)
def make_key_command(
    name: str, path: Path, sessions: int | None, opens_per_minute: float | None, out: Path | None
) -> None:
    """Make an API key called NAME; the file of keys keeps its hash, so this is the only time it is seen."""
    from antiphon_cloud.server.access.api_keys import make_key, save_key

    if out is None:
        click.echo(make_key(path, name, sessions, opens_per_minute))
    else:
        different_files(path, out)
        save_key(out, path, name, sessions=sessions, opens_per_minute=opens_per_minute)


@commands.command("plan")
@model_option
@option(
    "--gpu",
    "gpus",
    type=click.Choice(list(GPUS), case_sensitive=False),
    multiple=True,
    help="GPU to plan for; may be repeated; all known ones where absent.",
)
@option("--memory", "memory_gb", type=Number(0, min_open=True), help="Of another GPU: memory in GB.")
@option("--bandwidth", "bandwidth_gb_s", type=Number(0, min_open=True), help="Its bandwidth in GB/s.")
@option("--peak", "peak_tflops", type=Number(0, min_open=True), help="Its dense bfloat16 peak in TFLOP/s.")
@step_budget_option
@quantize_option
@cache_option
@option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan_command(
    model: Path,
    gpus: tuple[str, ...],
    memory_gb: float | None,
    bandwidth_gb_s: float | None,
    peak_tflops: float | None,
    step_budget_ms: float,
    quantize: str | None,
    kv_cache: str | None,
    as_json: bool,
) -> None:
    """Print how many sessions of a model a GPU holds and a worker on it would admit, and what a step costs."""
    import msgspec
    import torch

    from antiphon_cloud.checkpoint.directory import ModelDirectory
    from antiphon_cloud.checkpoint.load import is_int8
    from antiphon_cloud.runner.device import named_dtype
    from antiphon_cloud.runner.plan import cost, plan, table

    given = (memory_gb, bandwidth_gb_s, peak_tflops)
    if any(given) and not (memory_gb and bandwidth_gb_s and peak_tflops):
        raise click.UsageError("--memory, --bandwidth and --peak describe a GPU together: give all three")
    machines = [GPUS[name] for name in gpus]
    if memory_gb and bandwidth_gb_s and peak_tflops:
        machines.append(gpu("given", memory_gb, bandwidth_gb_s, peak_tflops))
    directory = ModelDirectory.open(model)
    kv_dtype = named_dtype(kv_cache) if kv_cache else None
    needed = cost(directory.config.lm, torch.bfloat16, "cuda", int8=is_int8(directory, quantize), kv_dtype=kv_dtype)
    plans = [plan(needed, machine, step_budget_ms) for machine in machines or GPUS.values()]
    click.echo(msgspec.json.encode(plans).decode() if as_json else table(plans))


def main() -> None:
    """Entry point of `antiphon-cloud`."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)  # before any command imports torch
    run(commands, "antiphon-cloud")
