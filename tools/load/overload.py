"""Measures a worker with twice as many clients as slots: the time of refusals, and the effect on admitted sessions.

    python -m tools.load.overload [--model DIR] [--slots 8] [--seconds 20] [--rounds 2]

Each round has two runs of `--slots` sessions at frame rate: first alone, then while as many more clients, in a process
of their own, try to open a session. They all try at once, then again when the refusal tells them to. Prints
percentiles of the round trip and the lost frames of each run, then percentiles of the time of a refusal, from the start
of the connection to the client's error.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import platform
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from antiphon.errors import AntiphonError, NoFreeSlotError
from antiphon.spec import CodecSpec
from antiphon_cloud.codec.model_codec import export_model_codec
from antiphon_edge import connect
from tools import ROOT
from tools.harness.golden import golden
from tools.harness.worker_process import worker
from tools.load.client import Outcome, run_session
from tools.load.load_test import Load, scripts, served

SETTLE_S = 2.0  # until all sessions are open


@dataclass(slots=True)
class Excess:
    """The results of the clients beyond the number of slots."""

    refused_ms: list[float] = field(default_factory=list)
    retry_after_s: list[float] = field(default_factory=list)
    admitted: int = 0
    errors: list[str] = field(default_factory=list)


def knock(address: str, codec: CodecSpec, clients: int, start_s: float, end_s: float) -> Excess:
    """Runs `clients` that try to open a session from `start_s` to `end_s`, on `time.time`'s clock."""
    return asyncio.run(_knock(address, codec, clients, start_s, end_s))


async def _knock(address: str, codec: CodecSpec, clients: int, start_s: float, end_s: float) -> Excess:
    excess = Excess()

    async def one() -> None:
        while time.time() < end_s:
            asked_s = time.perf_counter()
            try:
                async with connect(address, codec):
                    excess.admitted += 1
                    return
            except NoFreeSlotError as error:
                excess.refused_ms.append((time.perf_counter() - asked_s) * 1e3)
                excess.retry_after_s.append(error.retry_after_s)
                await asyncio.sleep(error.retry_after_s)
            except AntiphonError as error:
                excess.errors.append(str(error))
                return

    await asyncio.sleep(start_s - time.time())
    await asyncio.gather(*(one() for _ in range(clients)))
    return excess


async def run(address: str, slots: int, seconds: float, crowd: Executor | None) -> tuple[list[Outcome], Excess]:
    """Runs `slots` sessions at frame rate, alone or while as many clients in the process `crowd` try to get in."""
    codec, model = await served(address)
    start_s, knocking_s = time.perf_counter() + SETTLE_S, time.time() + 2 * SETTLE_S
    load = scripts(Load(slots, seconds), model, codec.frame_s, None)
    sessions = asyncio.gather(*(run_session(address, codec, script, start_s) for script in load))
    if crowd is None:
        return list(await sessions), Excess()
    end_s = knocking_s + seconds - 2 * SETTLE_S
    knocks = asyncio.get_running_loop().run_in_executor(crowd, knock, address, codec, slots, knocking_s, end_s)
    return list(await sessions), await knocks


def main() -> None:
    """Serves the model and prints both runs of each round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=golden() / "moshi-tiny")
    parser.add_argument("--codec", type=Path, default=ROOT / "build/bench-codec")
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20, help="length of each run; at least 10")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    if not (arguments.codec / "codec.json").exists():
        export_model_codec(arguments.model, arguments.codec)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {arguments.model.name}, {arguments.slots} slots, one thread")
    print(f"{'round trip (ms)':<24}{'p50':>9}{'p95':>9}{'p99':>9}{'frames':>9}{'lost':>6}")
    refused: list[Excess] = []
    flags = ("--model", arguments.model, "--codec", arguments.codec, "--slots", str(arguments.slots), "--threads", "1")
    with (
        worker(*flags, "--step-budget", "1e9") as started,  # only slots limit admission, even on a busy machine
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other,
    ):
        other.submit(os.getpid).result()  # its imports are done before the measurements
        for number in range(arguments.rounds):
            for overloaded in (False, True):
                outcomes, excess = asyncio.run(
                    run(started.address, arguments.slots, arguments.seconds, other if overloaded else None)
                )
                _print_run(f"{number + 1}: {'twice the slots' if overloaded else 'alone'}", outcomes)
                refused += [excess] if overloaded else []
    times_ms = [ms for excess in refused for ms in excess.refused_ms]
    waits_s = [wait_s for excess in refused for wait_s in excess.retry_after_s]
    if times_ms:
        p50, p99 = np.percentile(times_ms, [50, 99])
        print(
            f"{len(times_ms)} refusals: p50 {p50:.1f} ms, p99 {p99:.1f}, worst {max(times_ms):.1f}; told to come back "
            f"after {min(waits_s):.1f} to {max(waits_s):.1f} s"
        )
    print(f"{sum(excess.admitted for excess in refused)} of the excess admitted")
    for error in {error for excess in refused for error in excess.errors}:
        print(f"error: {error}")


def _print_run(name: str, outcomes: list[Outcome]) -> None:
    round_trips = [ms for outcome in outcomes for ms in outcome.round_trip_ms]
    p50, p95, p99 = np.percentile(round_trips, [50, 95, 99]) if round_trips else (0.0, 0.0, 0.0)
    lost = sum(outcome.lost for outcome in outcomes)
    print(f"{name:<24}{p50:>9.2f}{p95:>9.2f}{p99:>9.2f}{len(round_trips):>9}{lost:>6}")
    for error in {outcome.error for outcome in outcomes if outcome.error}:
        print(f"error: {error}")


if __name__ == "__main__":
    main()
