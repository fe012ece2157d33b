"""The whole recipe in one piece: from nothing, or from the packaged model, to a model directory.

    make train W=/somewhere                                  # from nothing
    python -m tools.clerk.train.recipe W --from-package      # goes on from the packaged model's floats
    nice -n 19 python -m tools.clerk.train.recipe W --from-package --processes 1      # beside other work

Runs one stage after the other; the same command goes on where it was stopped, within a stage too. `--seed` decides
all of it for one number of processes. What a stage printed is in W/logs, and what is done in W/done.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from antiphon.errors import AntiphonError
from tools import ROOT
from tools.clerk.train.stage import log, positive, run

HERE = Path(__file__).parent
MIMI, CONFIG = HERE / "mimi_config.json", HERE / "config.json"
FLOATS = "98aaa6c:cloud/antiphon_cloud/models/number-clerk"
"""The packaged model's floats, which only the history has."""
MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "1000000000000", "MALLOC_TOP_PAD_": "268435456"}
"""Without these, training takes twice as long."""

Command = tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """A stage, the commands that it runs at the same time, one per process, and the one that would make the same alone.

    Data does not depend on how many processes share the work; trained weights do.
    """

    name: str
    commands: tuple[Command, ...]
    whole: Command = ()

    @property
    def options(self) -> str:
        """What decides its result."""
        return "\n".join(" ".join(command[1:]) for command in ((self.whole,) if self.whole else self.commands))


@dataclass(frozen=True)
class Size:
    """How much data is made, and for how many steps each part is trained."""

    clips: int
    other_words: int
    speakers: int
    shards: int
    encoder: tuple[str, ...]
    decoder: tuple[str, ...]
    lm: tuple[tuple[str, ...], ...]  # options of each leg


FROM_NOTHING = Size(
    clips=18_000,
    other_words=6_000,
    speakers=1_000,
    shards=700,
    encoder=("--steps", "9000", "--warm-up", "300", "--freeze", "700", "--batch", "4"),
    decoder=("--steps", "5000"),
    lm=(("--steps", "8000"), ("--steps", "8000", "--learning-rate", "1e-3")),
)
FROM_PACKAGE = Size(
    clips=9_000,
    other_words=3_000,
    speakers=300,
    shards=400,
    encoder=("--steps", "5000", "--warm-up", "150", "--freeze", "1500", "--batch", "4", "--learning-rate", "5e-4"),
    decoder=("--steps", "2500", "--learning-rate", "5e-4"),
    lm=(("--steps", "8000", "--learning-rate", "1e-3"),),
)


def stages(folder: Path, size: Size, processes: int, seed: int, start: Path | None = None) -> list[Stage]:
    """The stages in order.

    Args:
        folder: where all of it goes.
        size: how much of it.
        processes: how many run at a time, each with one thread.
        seed: of clips, speakers, conversations and weights.
        start: a packed model to go on from; None for random weights.
    """
    bank, codec, dialogues = folder / "bank", folder / "codec", folder / "dialogues"
    seeded = ("--seed", str(seed))

    def module(name: str, *arguments: object) -> Command:
        return (sys.executable, "-m", f"tools.clerk.train.{name}", *(str(argument) for argument in arguments))

    def ranks(port: int, command: Command) -> tuple[Command, ...]:
        shared = ("--ranks", str(processes), "--port", str(port))
        return tuple((*command, *shared, "--rank", str(rank)) for rank in range(processes))

    def parts(count: int, command: Callable[[int, int], Command]) -> tuple[Command, ...]:
        edges = [count * i // processes for i in range(processes + 1)]
        return tuple(command(first, after - first) for first, after in pairwise(edges) if after > first)

    def speakers(first: int, count: int) -> Command:
        return module("voices.bank", bank / "natural", "--first", first, "--speakers", count, *seeded)

    def shards(first: int, count: int) -> Command:
        given = ("data.conversations", bank, MIMI, codec, dialogues, "--first", first + 1000 * seed, "--shards", count)
        return module(*given)

    before = ("--start", start) if start else ()
    amounts = ("--clips", size.clips, "--other-words", size.other_words, "--seed", seed + 1)
    speech = module("data.speech", bank, *amounts)
    made = [
        Stage("speech", ((*speech, "--processes", str(processes)),), speech),
        Stage("natural", parts(size.speakers, speakers), speakers(0, size.speakers)),
        Stage("encoder", ranks(29_400, module("encoder", bank, MIMI, codec, *size.encoder, *before, *seeded))),
        Stage(
            "held-out",
            (module("data.conversations", bank, MIMI, codec, dialogues / "held-out", "--shards", 3, "--held-out"),),
        ),
        Stage("conversations", parts(size.shards, shards), shards(0, size.shards)),
        Stage("decoder", ranks(29_401, module("decoder", bank, MIMI, codec, *size.decoder, *before, *seeded))),
    ]
    weights = start / "model.safetensors" if start else None
    for leg, options in enumerate(size.lm):
        out = folder / f"lm{leg}"
        given = (*options, "--seed", seed + leg, *(("--start", weights) if weights else ()))
        made.append(Stage(out.name, ranks(29_402 + leg, module("lm", dialogues, CONFIG, codec, out, *given))))
        weights = out / "model.safetensors"
    return [*made, Stage("pack", (module("pack", codec, out, folder / "number-clerk"),))]


def carry_out(stage: Stage, folder: Path) -> None:
    """Runs a stage, unless it is done.

    Raises:
        AntiphonError: it was done with other options, or a command of it failed.
    """
    done = folder / "done" / stage.name
    if done.exists():
        if done.read_text() != stage.options:
            raise AntiphonError(f"{done.name} was done with other options: give another folder, or delete {done}")
        return
    for part in (done.parent, folder / "logs"):
        part.mkdir(parents=True, exist_ok=True)
    print(f"{stage.name}: {len(stage.commands)} at once", flush=True)
    began_s = time.monotonic()
    environment = os.environ | MALLOC | {"OMP_NUM_THREADS": "1"}
    with (folder / "logs" / f"{stage.name}.log").open("ab") as output:
        running = [
            subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
            for command in stage.commands
        ]
        try:
            failed = [process.args for process in running if process.wait()]
        finally:
            for process in running:
                process.terminate()
                process.wait()
    if failed:
        raise AntiphonError(f"{stage.name} failed: its reason is at the end of {output.name}; the same command goes on")
    log(folder / "times.jsonl", {"stage": stage.name, "seconds": round(time.monotonic() - began_s)})
    done.write_text(stage.options)


def packaged_floats(folder: Path) -> Path:
    """The packaged model with its floats, out of the history.

    Raises:
        AntiphonError: the history is not there.
    """
    out = folder / "packaged"
    if not (out / "model.safetensors").exists():
        out.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(["git", "archive", FLOATS], cwd=ROOT, capture_output=True, check=False)
        if archive.returncode:
            raise AntiphonError(
                f"there is no {FLOATS} ({archive.stderr.decode().strip()}); use a clone with its history"
            )
        subprocess.run(["tar", "x", "-C", out], input=archive.stdout, check=True)
    return out


def main(argv: Sequence[str] | None = None) -> None:
    """Runs what is not done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where all of it goes: 8 GB")
    parser.add_argument(
        "--from-package", action="store_true", help="go on from the packaged model (default: from nothing)"
    )
    parser.add_argument(
        "--processes", type=positive, default=os.cpu_count() or 1, help="at a time (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all random choices (default: %(default)s)")
    parser.add_argument("--until", help="name of the last stage to run (default: pack)")
    arguments = parser.parse_args(argv)
    folder = arguments.folder.resolve()
    start = packaged_floats(folder) if arguments.from_package else None
    size = FROM_PACKAGE if start else FROM_NOTHING
    planned = stages(folder, size, arguments.processes, arguments.seed, start)
    names = [stage.name for stage in planned]
    if arguments.until and arguments.until not in names:
        parser.error(f"--until {arguments.until}: the stages are {', '.join(names)}")
    for stage in planned:
        carry_out(stage, folder)
        if stage.name == arguments.until:
            return


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C, and ends what runs
    run(main, "recipe")
