"""Many clients at frame rate against any worker or load balancer: what each frame took, and whether any went astray.

    python -m tools.load.load_test --server HOST:PORT --sessions 64 --seconds 300 --processes 2
    python -m tools.load.load_test --fleet 3 --slots 32 --sessions 64        # stub workers of its own behind Envoy

Says percentiles of the round trip (from a frame's sending to its reply), of how late the clients themselves were, the
frames lost, repeated, reordered or swapped between sessions (told by the replies' content for the stub model, by their
count for others), how evenly sessions were served, and how they were opened. `--json` and `--png` keep it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import uvloop

from antiphon.cli.codes_file import read_codes
from antiphon.errors import AntiphonError
from antiphon.spec import CodecSpec, ModelSpec
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.transport.channel import open_channel
from tools.harness.fleet import fleet
from tools.harness.worker_process import STUB
from tools.load.client import Outcome, Script, run_session

CONNECT_S = 5.0  # from the start of the processes to the first frame: Python's imports, and a codec's spec


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a server."""

    sessions: int
    seconds: float
    seed: int = 1
    processes: int = 1
    speed: float = 1.0
    ramp_s: float = 0.0  # over which the clients come
    together: bool = False  # every client's frames at the same instant, not spread over the frame's time


async def served(address: str) -> tuple[CodecSpec, ModelSpec]:
    """What the worker at `address` serves.

    Raises:
        AntiphonError: nobody answers there.
    """
    async with open_channel(address) as stub:
        response = await stub.GetModel(pb.GetModelRequest())
    return CodecSpec.from_message(response.codec), ModelSpec.from_message(response.model)


def scripts(load: Load, model: ModelSpec, frame_s: float, recorded: npt.NDArray[np.int32] | None) -> list[Script]:
    """One script a session: random codes, or the recorded ones, begun at another frame by each."""
    frames = round(load.seconds * load.speed / frame_s)
    written = []
    for index in range(load.sessions):
        random = np.random.default_rng([load.seed, index])
        if recorded is None:
            codes = random.integers(0, model.cardinality, (frames, model.user_codebooks), np.int32)
        else:
            codes = np.resize(np.roll(recorded, -index * 7, axis=0), (frames, recorded.shape[1]))
        share, period_s = index / load.sessions, frame_s / load.speed
        # The ramp counts in whole frames, and so leaves the phases as even as they are.
        phase_s = round(share * load.ramp_s / period_s) * period_s
        phase_s += 0.0 if load.together else share * period_s
        written.append(Script(load.seed + index, codes, phase_s, load.speed))
    return written


def run_load(address: str, load: Load, codes: Path | None = None) -> list[Outcome]:
    """Plays every session, from as many processes as asked for.

    Args:
        address: HOST:PORT.
        load: how many, how long.
        codes: recorded user codes (.npy); random ones where None.

    Raises:
        AntiphonError: nobody answers at `address`, or the codes are not the model's.
    """
    codec, model = asyncio.run(served(address))
    recorded = read_codes(codes, model.user_codebooks, model.cardinality) if codes else None
    parts = scripts(load, model, codec.frame_s, recorded)
    # CLOCK_MONOTONIC is one clock for all processes.
    start_s = time.perf_counter() + (CONNECT_S if load.processes > 1 else 0.1)
    if load.processes == 1:
        return play(address, codec, parts, start_s)
    with ProcessPoolExecutor(load.processes, multiprocessing.get_context("spawn")) as pool:
        shares = [pool.submit(play, address, codec, parts[i :: load.processes], start_s) for i in range(load.processes)]
        played = [share.result() for share in shares]
    return [played[index % load.processes][index // load.processes] for index in range(load.sessions)]


def play(address: str, codec: CodecSpec, parts: Sequence[Script], start_s: float) -> list[Outcome]:
    """The sessions of one process."""

    async def together() -> list[Outcome]:
        return await asyncio.gather(*(run_session(address, codec, part, start_s) for part in parts))

    return uvloop.run(together())


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The figures of a load, ready for JSON."""
    finished = [outcome for outcome in outcomes if outcome.error is None]
    means = np.array([np.mean(outcome.round_trip_ms) for outcome in finished if outcome.round_trip_ms])
    p99s = [float(np.percentile(outcome.round_trip_ms, 99)) for outcome in finished if outcome.round_trip_ms]
    return {
        "sessions": len(outcomes),
        "finished": len(finished),
        "errors": dict(Counter(outcome.error_kind for outcome in outcomes if outcome.error)),
        "frames": {
            "sent": sum(outcome.sent for outcome in outcomes),
            "answered": sum(outcome.answered for outcome in outcomes),
            "lost": sum(outcome.lost for outcome in outcomes),
            "repeated": sum(outcome.repeated for outcome in outcomes),
            "reordered": sum(outcome.reordered for outcome in outcomes),
            "foreign": sum(outcome.foreign for outcome in outcomes),
            "checked by content": all(outcome.checked for outcome in finished),
        },
        "round trip ms": percentiles(outcome.round_trip_ms for outcome in outcomes),
        "clients late ms": percentiles(outcome.late_ms for outcome in outcomes),
        "open ms": percentiles([outcome.open_ms] for outcome in outcomes),
        "longest gap ms": round(max((outcome.longest_gap_ms for outcome in finished), default=0.0), 1),
        "fairness": {
            # Jain's index of the sessions' mean latencies: 1 where all are alike, 1/n where one bears it all.
            "jain": round(float(means.sum() ** 2 / (len(means) * (means**2).sum())), 4) if len(means) else None,
            "best session p99 ms": round(min(p99s, default=0.0), 2),
            "worst session p99 ms": round(max(p99s, default=0.0), 2),
        },
        "reconnects": sum(len(outcome.resumed) for outcome in outcomes),
        "reconnect ms": percentiles([change.after_s * 1e3 for change in outcome.resumed] for outcome in outcomes),
    }


def percentiles(sessions: Iterator[list[float]] | Any) -> dict[str, float]:
    """p50 to the maximum of all sessions' values together."""
    values = np.concatenate([np.asarray(each, float) for each in sessions] or [np.empty(0)])
    if not len(values):
        return {}
    found = np.percentile(values, [50, 95, 99, 99.9, 100])
    return dict(zip(("p50", "p95", "p99", "p99.9", "max"), (round(float(value), 2) for value in found), strict=True))


def draw(outcomes: Sequence[Outcome], title: str, path: Path) -> None:
    """A picture: every frame's round trip over time, and each session's percentiles."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (over_time, by_session) = plt.subplots(2, 1, figsize=(11, 7), layout="constrained")
    arrived = np.concatenate([outcome.arrived_s for outcome in outcomes])
    took = np.concatenate([outcome.round_trip_ms for outcome in outcomes])
    over_time.plot(arrived, took, ",", color="tab:blue", alpha=0.5)
    seconds = arrived.astype(int)
    present = np.unique(seconds)
    for percent, colour in ((50, "tab:green"), (99, "tab:red")):
        line = [np.percentile(took[seconds == second], percent) for second in present]
        over_time.plot(present + 0.5, line, color=colour, label=f"p{percent} of each second")
    over_time.set(xlabel="seconds", ylabel="round trip (ms)", title=title)
    over_time.legend(loc="upper right")
    for percent, colour in ((50, "tab:green"), (95, "tab:orange"), (99, "tab:red")):
        values = [np.percentile(outcome.round_trip_ms or [0.0], percent) for outcome in outcomes]
        by_session.plot(values, ".", color=colour, label=f"p{percent}")
    by_session.set(xlabel="session", ylabel="round trip (ms)", ylim=(0, None))
    by_session.legend(loc="upper right")
    figure.savefig(path, dpi=110)
    plt.close(figure)


@contextmanager
def target(arguments: argparse.Namespace) -> Iterator[str]:
    """The address under load: a given one, or that of a fleet of our own."""
    if arguments.server:
        yield arguments.server
        return
    step = ("--step-ms", str(arguments.step_ms), "--slots", str(arguments.slots))
    with fleet(*step, size=arguments.fleet, program=STUB) as started:
        yield started.address


def main() -> None:
    """Runs the load and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--server", metavar="HOST:PORT", help="a worker or a load balancer")
    where.add_argument("--fleet", type=int, metavar="N", help="start N stub workers behind Envoy")
    parser.add_argument("--slots", type=int, default=64, help="of each worker of --fleet (default: %(default)s)")
    parser.add_argument("--step-ms", type=float, default=0.0, help="of each step of --fleet (default: %(default)s)")
    parser.add_argument("--sessions", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--processes", type=int, default=1, help="that play the clients (default: %(default)s)")
    parser.add_argument("--codes", type=Path, help="recorded user codes (.npy); random ones where absent")
    parser.add_argument("--speed", type=float, default=1.0, help="times real time (default: %(default)s)")
    parser.add_argument("--ramp", type=float, default=0.0, help="seconds over which clients come (default: at once)")
    parser.add_argument("--together", action="store_true", help="all frames at the same instant")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path)
    arguments = parser.parse_args()
    load = Load(
        arguments.sessions,
        arguments.seconds,
        processes=arguments.processes,
        speed=arguments.speed,
        ramp_s=arguments.ramp,
        together=arguments.together,
    )
    with target(arguments) as address:
        outcomes = run_load(address, load, arguments.codes)
    figures = summary(outcomes)
    title = f"{load.sessions} sessions, {load.seconds:g} s, {platform.machine()}, {os.cpu_count()} cores"
    print(title)
    print(json.dumps(figures, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps({"load": title, **figures}, indent=2) + "\n")
    if arguments.png:
        draw(outcomes, title, arguments.png)
    if first := next((outcome.error for outcome in outcomes if outcome.error), None):
        sys.exit(f"tools.load.load_test: {figures['errors']}; the first: {first}")


if __name__ == "__main__":
    try:
        main()
    except AntiphonError as error:
        sys.exit(f"tools.load.load_test: {error}")
