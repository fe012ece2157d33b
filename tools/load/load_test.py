"""Runs many clients at frame rate against a worker or load balancer, and checks that no frame is lost.

    python -m tools.load.load_test --server HOST:PORT --sessions 64 --seconds 300 --processes 2
    python -m tools.load.load_test --fleet 3 --slots 32 --sessions 64        # starts stub workers behind Envoy

Prints as JSON: percentiles of the round trip (from sending a frame to its reply), of the clients' own lateness and of
the time to open a session; the frames that were lost, repeated, reordered or swapped between sessions; the fairness
between sessions; and the reconnects. Replies of the stub model are checked by content, those of other models are only
counted. `--json` and `--png` save the results. Ends with status 1 if a session failed.
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

CONNECT_S = 5.0  # from the start of the processes to the first frame: Python's imports, and the codec's spec


@dataclass(frozen=True, slots=True)
class Load:
    """The load to put on a server."""

    sessions: int
    seconds: float
    seed: int = 1
    processes: int = 1
    speed: float = 1.0
    ramp_s: float = 0.0  # time over which the clients start
    together: bool = False  # all clients send at the same instant, instead of spread over a frame's time


async def served(address: str) -> tuple[CodecSpec, ModelSpec]:
    """The codec and the model that the worker at `address` serves.

    Raises:
        AntiphonError: no worker answers there.
    """
    async with open_channel(address) as stub:
        response = await stub.GetModel(pb.GetModelRequest())
    return CodecSpec.from_message(response.codec), ModelSpec.from_message(response.model)


def scripts(load: Load, model: ModelSpec, frame_s: float, recorded: npt.NDArray[np.int32] | None) -> list[Script]:
    """One script per session: random codes, or the recorded ones from a different frame on."""
    frames = round(load.seconds * load.speed / frame_s)
    written = []
    for index in range(load.sessions):
        random = np.random.default_rng([load.seed, index])
        if recorded is None:
            codes = random.integers(0, model.cardinality, (frames, model.user_codebooks), np.int32)
        else:
            codes = np.resize(np.roll(recorded, -index * 7, axis=0), (frames, recorded.shape[1]))
        share, period_s = index / load.sessions, frame_s / load.speed
        # The ramp is in whole frames, so that the phases stay evenly spread.
        phase_s = round(share * load.ramp_s / period_s) * period_s
        phase_s += 0.0 if load.together else share * period_s
        written.append(Script(load.seed + index, codes, phase_s, load.speed))
    return written


def run_load(address: str, load: Load, codes: Path | None = None) -> list[Outcome]:
    """Plays all sessions from `load.processes` processes.

    Args:
        address: HOST:PORT.
        load: the load.
        codes: recorded user codes (.npy); None for random ones.

    Raises:
        AntiphonError: no worker answers at `address`, or the codes do not fit the model.
    """
    codec, model = asyncio.run(served(address))
    recorded = read_codes(codes, model.user_codebooks, model.cardinality) if codes else None
    parts = scripts(load, model, codec.frame_s, recorded)
    # All processes share CLOCK_MONOTONIC.
    start_s = time.perf_counter() + (CONNECT_S if load.processes > 1 else 0.1)
    if load.processes == 1:
        return play(address, codec, parts, start_s)
    with ProcessPoolExecutor(load.processes, multiprocessing.get_context("spawn")) as pool:
        shares = [pool.submit(play, address, codec, parts[i :: load.processes], start_s) for i in range(load.processes)]
        played = [share.result() for share in shares]
    return [played[index % load.processes][index // load.processes] for index in range(load.sessions)]


def play(address: str, codec: CodecSpec, parts: Sequence[Script], start_s: float) -> list[Outcome]:
    """Plays the sessions of one process."""

    async def together() -> list[Outcome]:
        return await asyncio.gather(*(run_session(address, codec, part, start_s) for part in parts))

    return uvloop.run(together())


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The results of a load, ready for JSON."""
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
            # Jain's index of the sessions' mean latencies: 1 if all are equal, 1/n if one has all the latency.
            "jain": round(float(means.sum() ** 2 / (len(means) * (means**2).sum())), 4) if len(means) else None,
            "best session p99 ms": round(min(p99s, default=0.0), 2),
            "worst session p99 ms": round(max(p99s, default=0.0), 2),
        },
        "reconnects": sum(len(outcome.resumed) for outcome in outcomes),
        "reconnect ms": percentiles([change.after_s * 1e3 for change in outcome.resumed] for outcome in outcomes),
    }


def percentiles(sessions: Iterator[list[float]] | Any) -> dict[str, float]:
    """Percentiles from p50 to the maximum, over the values of all sessions."""
    values = np.concatenate([np.asarray(each, float) for each in sessions] or [np.empty(0)])
    if not len(values):
        return {}
    found = np.percentile(values, [50, 95, 99, 99.9, 100])
    return dict(zip(("p50", "p95", "p99", "p99.9", "max"), (round(float(value), 2) for value in found), strict=True))


def draw(outcomes: Sequence[Outcome], title: str, path: Path) -> None:
    """Draws every frame's round trip over time, and each session's percentiles."""
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
    """The address to load: the given one, or that of a new fleet."""
    if arguments.server:
        yield arguments.server
        return
    step = ("--step-ms", str(arguments.step_ms), "--slots", str(arguments.slots))
    with fleet(*step, size=arguments.fleet, program=STUB) as started:
        yield started.address


def main() -> None:
    """Runs the load and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--server", metavar="HOST:PORT", help="a worker or a load balancer")
    where.add_argument("--fleet", type=int, metavar="N", help="start N stub workers behind Envoy")
    parser.add_argument("--slots", type=int, default=64, help="slots per worker of --fleet (default: %(default)s)")
    parser.add_argument("--step-ms", type=float, default=0.0, help="step time of --fleet (default: %(default)s)")
    parser.add_argument("--sessions", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--processes", type=int, default=1, help="client processes (default: %(default)s)")
    parser.add_argument("--codes", type=Path, help="recorded user codes, .npy (default: random ones)")
    parser.add_argument("--speed", type=float, default=1.0, help="relative to real time (default: %(default)s)")
    parser.add_argument("--ramp", type=float, default=0.0, help="seconds over which clients start (default: at once)")
    parser.add_argument("--together", action="store_true", help="all clients send at the same instant")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--png", type=Path, help="file for a plot")
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
