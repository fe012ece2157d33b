"""`serve`: serves a model until SIGTERM."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import uvloop

from antiphon import logs
from antiphon.cli.command_line import Address, Number, name_option, option
from antiphon.cli.settings_option import Reread
from antiphon.cli.tracing_options import tracing_options
from antiphon_cloud.cli.exposure_options import LIMITS, allowance_of, exposure_options
from antiphon_cloud.cli.options import (
    cache_option,
    device_option,
    dtype_option,
    model_option,
    quantize_option,
    step_budget_option,
    threads_option,
)

if TYPE_CHECKING:
    from antiphon.serving.collector import Tracing
    from antiphon_cloud.sessions.clients import Allowance

MAX_SECONDS = 86_400


@click.command("serve")
@model_option
@option(
    "--listen",
    type=Address(),
    default="127.0.0.1:50051",
    metavar="HOST:PORT",
    help="Address to listen on; port 0 picks one.",
)
@name_option
@option("--slots", type=click.IntRange(1, 1024), default=4, help="Sessions at once.")
@option(
    "--kv-promise",
    "kv_promise_s",
    type=Number(0, MAX_SECONDS, min_open=True),
    help="On a GPU, seconds of conversation that each session is sure to look back to, in whole pages of 20.48; the "
    "model's whole context where absent. A shorter promise admits more sessions: each looks back further, up to the "
    "context, while there is memory that no other was promised.",
)
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
@option(
    "--adapter",
    "adapters",
    metavar="NAME=PATH",
    multiple=True,
    help="A low-rank adapter that sessions may choose by this name: a safetensors file, or a folder as moshi-finetune "
    "writes it; may be repeated.",
)
@option(
    "--adapters-dir",
    type=click.Path(path_type=Path),
    help="Folder of such adapters, looked at whenever a session asks for one; beside MODEL/adapters, where that is.",
)
@option(
    "--max-adapters",
    type=click.IntRange(1, 1024),
    default=8,
    help="Adapters in memory at once; one that no session has makes room for another.",
)
@option(
    "--adapter-rank",
    type=click.IntRange(1, 1024),
    help="Highest rank of an adapter, for which there is memory; where absent, that of those that are there, or 64.",
)
@exposure_options
@tracing_options
@step_budget_option
@option(
    "--keep-slot",
    "keep_slot_s",
    type=Number(0, MAX_SECONDS),
    default=5.0,
    help="Seconds that a session whose stream broke keeps its slot, unless another session needs it.",
)
@option(
    "--reserve-resume",
    "reserve",
    type=click.IntRange(0, 1023),
    default=0,
    help="Of the slots, so many that only sessions may take which go on from another worker: for those of one, or of a "
    "region, that is lost.",
)
@option(
    "--prompt-cache",
    "prompt_cache_mb",
    type=click.IntRange(0, 1_000_000),
    default=512,
    help="Megabytes of memory for what the model remembers of voices and personas, so that the next session with the "
    "same ones starts at once; only models that take them use any.",
)
@option("--eager", is_flag=True, help="On a GPU, do not capture the step as CUDA graphs.")
@option(
    "--codebooks",
    type=click.IntRange(1, 128),
    help="Codebooks that a model generates which hears nobody; all of them where absent. Fewer are faster, and sound "
    "worse.",
)
@device_option
@dtype_option
@quantize_option
@cache_option
@threads_option
def serve_command(
    model: Path,
    listen: str,
    name: str,
    slots: int,
    kv_promise_s: float | None,
    codec_folder: Path | None,
    random_weights: bool,
    reflection: bool,
    drain_s: float,
    idle_s: float,
    adapters: tuple[str, ...],
    adapters_dir: Path | None,
    max_adapters: int,
    adapter_rank: int | None,
    exposure: dict[str, Any],
    tracing: Tracing | None,
    step_budget_ms: float,
    keep_slot_s: float,
    reserve: int,
    prompt_cache_mb: int,
    eager: bool,
    codebooks: int | None,
    device: str,
    dtype: str | None,
    quantize: str | None,
    kv_cache: str | None,
    threads: int | None,
) -> None:
    """Serve a model until SIGTERM. The first line on standard output is `listening on HOST:PORT`."""
    from antiphon.serving.reload import Settled
    from antiphon_cloud.server.process import ServerConfig
    from antiphon_cloud.server.process import run as run_server
    from antiphon_cloud.serving.config import ServingConfig
    from antiphon_cloud.serving.load import load

    if reserve >= slots:
        raise click.UsageError("--reserve-resume leaves no slot for a new session: keep fewer than --slots")
    server = ServerConfig(listen=listen, reflection=reflection, drain_s=drain_s, name=name, tracing=tracing, **exposure)
    logs.set_name(name)
    serving = ServingConfig(
        model=model,
        codec=codec_folder,
        slots=slots,
        device=device,
        dtype=dtype,
        quantize=quantize,
        kv_cache=kv_cache,
        kv_promise_s=kv_promise_s,
        graphs=not eager,
        threads=threads,
        random_weights=random_weights,
        idle_timeout_ms=round(idle_s * 1000),
        step_budget_ms=step_budget_ms,
        keep_slot_ms=round(keep_slot_s * 1000),
        reserve=reserve,
        codebooks=codebooks,
        prompt_cache_mb=prompt_cache_mb,
        adapters=adapters,
        adapters_dir=adapters_dir,
        max_adapters=max_adapters,
        adapter_rank=adapter_rank,
    )
    again = Reread(click.get_current_context(), ("log_level", *LIMITS))

    def reread() -> Settled[Allowance]:
        values = again()
        return Settled(values["log_level"], allowance_of(values))

    def ready(address: str) -> None:
        print(f"listening on {address}", flush=True)  # noqa: T201

    uvloop.run(run_server(server, partial(load, serving), ready, reread))
