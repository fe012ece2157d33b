"""The stages of a check, and the process that runs some of them; `supervisor` watches it.

What a stage finds goes to standard output as it is found, a JSON object a line; how the stage ended is the last of its.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from antiphon.errors import AntiphonError
from antiphon_cloud.errors import DeviceLostError
from tools.gpu import accuracy, environment, equality, kernels, serving, timing
from tools.gpu.subject import Bench, FailedError, Tell
from tools.harness import random_checkpoint


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the check."""

    run: Callable[[Bench, Tell], None]
    limit_s: float  # the loading of the model counted in, where the stage is its process's first
    a_model: bool = True  # whether it needs one
    a_card: bool = True  # whether it needs a GPU


def write(bench: Bench, tell: Tell) -> None:
    """A random 7B, where no model is given."""
    random_checkpoint.write(bench.model, random_checkpoint.CONFIGS["7b"])
    tell(f"wrote a random 7B to {bench.model}")


STAGES = {  # in their order: what is short and worth most first
    "environment": Stage(environment.run, 60, a_model=False, a_card=False),
    "write": Stage(write, 180, a_model=False, a_card=False),
    "timing": Stage(timing.run, 240),
    "kernels": Stage(kernels.run, 120, a_model=False),
    "equality": Stage(equality.run, 180),
    "accuracy": Stage(accuracy.run, 240),
    "serve": Stage(serving.run, 240, a_card=False),
}


def say(stage: str, text: str, *, kind: str = "note", **facts: object) -> None:
    """Hands a finding to the supervisor."""
    print(json.dumps({"stage": stage, "kind": kind, "text": text, **facts}, default=str), flush=True)


def run_stages(names: Sequence[str], bench: Bench) -> None:
    """Runs stages one after the other; returns early where one may have left the device unusable."""
    for name in names:
        end = partial(say, name, kind="end")
        try:
            STAGES[name].run(bench, partial(say, name))
        except DeviceLostError as error:
            end(str(error), status="broken")
            return
        except (FailedError, AntiphonError) as error:
            end(str(error), status="failed")
        except Exception as error:  # noqa: BLE001 - a bug of ours, or the device's end: the next needs a new process
            traceback.print_exc(file=sys.stderr)
            end(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}", status="broken")
            return
        else:
            end("", status="passed")
