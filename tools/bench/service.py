"""Measures the latency that the service adds to a step, with clients at frame rate and a real worker on this machine.

    python -m tools.bench.service [--model DIR] [--codec DIR] [--sessions 1 16] [--seconds 20]

For each number of sessions it prints bytes per second and percentiles of the round trip, the wait for the engine (until
the running step ends), the step, and the rest: gRPC, event loops and socket. The bytes are TCP payload of one session,
counted by a relay over the whole run except its first second.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import time
from pathlib import Path

from antiphon.errors import AntiphonError
from antiphon_cloud.codec.model_codec import export_model_codec
from antiphon_edge.talk.latency import LatencyBreakdown, format_table
from tools import ROOT
from tools.harness.golden import golden
from tools.harness.relay import relay
from tools.harness.worker_process import worker
from tools.load.client import Outcome, run_session
from tools.load.load_test import Load, scripts, served


def hops_of(outcome: Outcome) -> LatencyBreakdown:
    """A session's round trips, split up by the worker's own times."""
    if outcome.error is not None:
        raise AntiphonError(outcome.error)
    hops = LatencyBreakdown()
    hops.round_trip_ms.extend(outcome.round_trip_ms)
    hops.add_timings(outcome.totals)
    return hops


async def measure(address: str, sessions: int, seconds: float) -> None:
    """Prints the table for `sessions` clients, whose frames are spread evenly over a frame's time."""
    codec, model = await served(address)
    async with relay(address) as network:
        start = time.perf_counter()
        addresses = [network.address] + [address] * (sessions - 1)
        load = scripts(Load(sessions, seconds), model, codec.frame_s, None)
        outcomes = await asyncio.gather(
            *(
                run_session(each, codec, script, start, timings=True)
                for each, script in zip(addresses, load, strict=True)
            )
        )
        rates = [f"{network.traffic.rate(way, start + 1, start + seconds):.0f} bytes/s {way}" for way in ("up", "down")]
    print(f"\n{sessions} sessions, {seconds:g} s: {', '.join(rates)}")
    print(format_table(LatencyBreakdown.together(map(hops_of, outcomes)).table()))


def main() -> None:
    """Serves the model and measures each number of sessions in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=golden() / "moshi-tiny")
    parser.add_argument("--codec", type=Path, default=ROOT / "build/bench-codec")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    if not (arguments.codec / "codec.json").exists():
        export_model_codec(arguments.model, arguments.codec)
    slots = str(max(arguments.sessions))
    print(f"{platform.machine()}, {os.cpu_count()} cores, {arguments.model.name}, one thread a step")
    patient = ("--step-budget", "1e9")  # a slow step is measured, not a reason to refuse sessions
    options = ("--model", arguments.model, "--codec", arguments.codec, "--slots", slots, "--threads", "1", *patient)
    with worker(*options) as started:
        for sessions in arguments.sessions:
            asyncio.run(measure(started.address, sessions, arguments.seconds))


if __name__ == "__main__":
    main()
