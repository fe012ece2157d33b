"""Everything that only a GPU can show, in one command, in stages. Paste the page that it prints into an issue.

    python -m tools.gpu.check [--model DIR] [--stages timing serve …] [--out FOLDER]

Builds the random 7B unless given a model, then, each within a time of its own: `environment`, `timing` (batches of 1 to
96, eager against captured, in both caches), `kernels` (their tests), `equality` (rebuilt, padded and captured sessions
against plain ones), `accuracy` (against the CPU), `serve` (sessions at frame rate through gRPC). A stage that fails or
takes too long is told, and the next one runs. Whatever is found lies in FOLDER at once: `found.jsonl`, `report.txt`,
`errors.log`, and at the end `table.md`. `--device cpu` rehearses what needs no GPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from antiphon.errors import AntiphonError
from antiphon_cloud.runner.device import step_dtype
from tools.gpu.report import Report
from tools.gpu.stages import STAGES, run_stages
from tools.gpu.subject import Bench
from tools.gpu.supervisor import supervise


def main() -> None:
    """Runs the stages; exits with status 1 where one does not pass."""
    arguments = parser().parse_args()
    if arguments.inside:
        run_stages(arguments.inside, bench_of(arguments, arguments.model or Path()))
        return
    try:
        step_dtype(arguments.device, arguments.dtype)
        limits_s = limits_of(arguments)
        with tempfile.TemporaryDirectory(prefix="antiphon-7b-") as folder:
            model = arguments.model or Path(folder) / "moshi-7b"
            report = Report(arguments.out, f"{model.name}, weights {arguments.quantize}, activations {arguments.dtype}")
            own = [*sys.argv[1:], "--model", str(model), "--inside"]
            passed = supervise(lambda names: [sys.executable, "-m", "tools.gpu.check", *own, *names], limits_s, report)
    except AntiphonError as error:
        sys.exit(f"tools.gpu.check: {error}")
    print(f"\n{report.finish()}\nin {report.folder}: found.jsonl, report.txt, errors.log, table.md")
    sys.exit(None if passed else "tools.gpu.check: FAILED: see the stages above")


def parser() -> argparse.ArgumentParser:
    """Of the command's flags."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--model", type=Path, help="model directory; a random 7B where absent")
    made.add_argument("--quantize", default="int8", choices=["none", "int8"])
    made.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16"], help="of activations")
    made.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    made.add_argument("--out", type=Path, default=Path("build/gpu"), help="where it all goes (default: %(default)s)")
    made.add_argument("--stages", nargs="+", choices=[*STAGES], metavar="STAGE", help=f"of {', '.join(STAGES)}; all")
    made.add_argument("--limit", action="append", default=[], metavar="STAGE=SECONDS", help="another than its own")
    made.add_argument("--slots", type=int, default=64, help="of the worker of `serve` (default: %(default)s)")
    made.add_argument("--sessions", type=int, nargs="+", help="that `serve` plays; 1, 16, 32 and all slots")
    made.add_argument("--seconds", type=float, default=12.0, help="of each load of `serve` (default: %(default)s)")
    made.add_argument("--inside", nargs="+", choices=[*STAGES], help=argparse.SUPPRESS)  # within the process of stages
    return made


def bench_of(arguments: argparse.Namespace, model: Path) -> Bench:
    """What the stages need to know."""
    slots = arguments.slots
    sessions = arguments.sessions or sorted({1, min(16, slots), min(32, slots), slots})
    return Bench(
        model, arguments.quantize, arguments.dtype, arguments.device, slots, tuple(sessions), arguments.seconds
    )


def limits_of(arguments: argparse.Namespace) -> dict[str, float]:
    """Stage → seconds, of those that were asked for and can be run here, in the order of the check.

    Raises:
        AntiphonError: a stage that was asked for needs a GPU, or a limit is none.
    """
    asked: Sequence[str] = arguments.stages or [*STAGES]
    unfit = [name for name in asked if STAGES[name].a_card and arguments.device == "cpu"]
    if unfit and arguments.stages:
        raise AntiphonError(f"--stages: {', '.join(unfit)} need a GPU; leave --device cpu out")
    names = [name for name in STAGES if name in asked and name not in (*unfit, "environment", "write")]
    if arguments.model is None and any(STAGES[name].a_model for name in names):
        names.insert(0, "write")
    names.insert(0, "environment")  # without it no figure means anything
    limits_s = {name: STAGES[name].limit_s for name in names}
    for limit in arguments.limit:
        name, _, seconds = limit.partition("=")
        if name not in STAGES or not seconds.replace(".", "", 1).isdecimal():
            raise AntiphonError(f"--limit {limit}: write STAGE=SECONDS, with one of {', '.join(STAGES)}")
        if name in limits_s:
            limits_s[name] = float(seconds)
    return limits_s


if __name__ == "__main__":
    main()
