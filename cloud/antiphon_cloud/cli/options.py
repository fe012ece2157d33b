"""Options that commands share: the model, and how it is stepped."""

from __future__ import annotations

from pathlib import Path

import click

from antiphon.cli.command_line import THREADS, Number, option
from antiphon_cloud.timing import STEP_BUDGET_MS


def number_clerk() -> Path | None:
    """The directory of the number clerk; None where its distribution is not installed."""
    try:
        from antiphon_number_clerk import NUMBER_CLERK
    except ModuleNotFoundError:
        return None
    return NUMBER_CLERK


def _default_model() -> Path:
    """The model of whoever names none.

    Raises:
        click.UsageError: there is none.
    """
    clerk = number_clerk()
    if clerk is None:
        raise click.UsageError("there is no model: name one with --model, or pip install antiphon-number-clerk")
    return clerk


model_option = option(
    "--model",
    type=click.Path(path_type=Path),
    default=_default_model,
    show_default="the number clerk, where antiphon-number-clerk is installed",
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
