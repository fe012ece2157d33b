"""`plan`: predicts a model's cost on a GPU before one is rented."""

from __future__ import annotations

from pathlib import Path

import click

from antiphon.cli.command_line import Number, option
from antiphon_cloud.cli.options import cache_option, model_option, quantize_option, step_budget_option
from antiphon_cloud.runner.gpus import GPUS, gpu


@click.command("plan")
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
@option(
    "--max-adapters",
    type=click.IntRange(0, 1024),
    default=0,
    help="Adapters that there is to be memory for. What they add to a step is not planned.",
)
@option("--adapter-rank", type=click.IntRange(1, 1024), help="Highest rank of an adapter; 64 where absent.")
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
    max_adapters: int,
    adapter_rank: int | None,
    as_json: bool,
) -> None:
    """Print how many sessions of a model a GPU holds and a worker on it would admit, and what a step costs."""
    import msgspec
    import torch

    from antiphon_cloud.checkpoint.directory import ModelDirectory
    from antiphon_cloud.checkpoint.load import is_int8
    from antiphon_cloud.model.adapters import AdapterRoom
    from antiphon_cloud.runner.adapters import USUAL_RANK
    from antiphon_cloud.runner.cost import cost
    from antiphon_cloud.runner.device import named_dtype
    from antiphon_cloud.runner.plan import plan, table

    given = (memory_gb, bandwidth_gb_s, peak_tflops)
    if any(given) and not (memory_gb and bandwidth_gb_s and peak_tflops):
        raise click.UsageError("--memory, --bandwidth and --peak describe a GPU together: give all three")
    machines = [GPUS[name] for name in gpus]
    if memory_gb and bandwidth_gb_s and peak_tflops:
        machines.append(gpu("given", memory_gb, bandwidth_gb_s, peak_tflops))
    directory = ModelDirectory.open(model)
    kv_dtype = named_dtype(kv_cache) if kv_cache else None
    int8 = is_int8(directory, quantize)
    room = AdapterRoom(max_adapters, adapter_rank or USUAL_RANK) if max_adapters else None
    needed = cost(directory.config.lm, torch.bfloat16, "cuda", int8=int8, kv_dtype=kv_dtype, room=room)
    plans = [plan(needed, machine, step_budget_ms) for machine in machines or GPUS.values()]
    click.echo(msgspec.json.encode(plans).decode() if as_json else table(plans))
