"""The stage `accuracy`: tokens and logits of the card against the CPU's, both hearing the CPU's conversation."""

from __future__ import annotations

from antiphon_cloud.runner.runner import ModelRunner
from tools.bench.agreement import compare
from tools.gpu.subject import LOGITS_ERROR, Bench, FailedError, Tell, runner_of

AGREEMENT = 0.8  # of likeliest tokens: random weights have many near-ties
STEPS = 8


def run(bench: Bench, tell: Tell) -> None:
    """Loads the model on the CPU too.

    Raises:
        FailedError: the card's is not the same model.
    """
    here = runner_of(*bench.loaded, 1, bench.subject.dtype, captured=False)
    tell(same_model(bench.subject.runner("cpu", 1), here, STEPS))


def same_model(there: ModelRunner, here: ModelRunner, steps: int) -> str:
    """Compares tokens and logits of two runners while both hear what `there` says.

    Raises:
        FailedError: `here` is not the same model.
    """
    text, codes = compare(there, here, steps)
    report = f"against the CPU over {steps} steps: {text} text; {codes} codes"
    if not max(text.error, codes.error) < LOGITS_ERROR:
        raise FailedError(f"{report}; errors must stay below {LOGITS_ERROR}")
    if not min(text.top_1, codes.top_1) >= AGREEMENT:
        raise FailedError(f"{report}; at least {AGREEMENT} must be the same")
    return report
