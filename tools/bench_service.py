"""What the service adds to a step: clients at frame rate against a real worker, on this machine.

    python tools/bench_service.py [--model DIR] [--codec DIR] [--sessions 1 16] [--seconds 20]

Per number of sessions it prints percentiles of the round trip, of the wait for the engine (the step under way has to
end first), of the step, and of what is left: gRPC, the event loops and the socket. The bytes are TCP payload, counted
by a relay on one of the sessions, over the whole run but its first second.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import time
from pathlib import Path

import numpy as np

from antiphon.spec import CodecSpec
from antiphon_cloud.codec_folder import CodecFolder
from antiphon_cloud.serving import export_model_codec
from antiphon_edge import client
from antiphon_edge.hops import Hops, format_table
from relay import counting_relay
from worker_process import worker

ROOT = Path(__file__).resolve().parent.parent


async def session_at_frame_rate(address: str, codec: CodecSpec, seconds: float, phase_s: float) -> Hops:
    """One client that sends random codes every frame; returns what it saw, with the worker's timings."""
    random = np.random.default_rng(round(phase_s * 1e6))
    hops = Hops()
    async with client.connect(address, codec, seed=1, timings=True) as session:

        async def send() -> None:
            start = time.perf_counter() + phase_s
            for count in range(round(seconds / codec.frame_s)):
                await asyncio.sleep(max(0.0, start + count * codec.frame_s - time.perf_counter()))
                codes = random.integers(0, session.model.cardinality, session.model.user_codebooks)
                await session.send(codes.astype(np.int32))
            await session.end()

        sending = asyncio.create_task(send())
        async for reply in session:
            hops.round_trip_ms.append(reply.round_trip_s * 1e3)
        await sending
        hops.add_timings(session.totals)
    return hops


async def measure(address: str, codec: CodecSpec, sessions: int, seconds: float) -> None:
    """Prints the table for `sessions` clients, their frames spread evenly over the frame's time."""
    async with counting_relay(address) as (relay, traffic):
        start = time.perf_counter()
        addresses = [relay] + [address] * (sessions - 1)
        results = await asyncio.gather(
            *(
                session_at_frame_rate(each, codec, seconds, index * codec.frame_s / sessions)
                for index, each in enumerate(addresses)
            )
        )
        rates = [f"{traffic.rate(way, start + 1, start + seconds):.0f} bytes/s {way}" for way in ("up", "down")]
    print(f"\n{sessions} sessions, {seconds:g} s: {', '.join(rates)}")
    print(format_table(Hops.together(results).table()))


def main() -> None:
    """Serves the model and measures each number of sessions in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "tests/golden/moshi-tiny")
    parser.add_argument("--codec", type=Path, default=ROOT / "build/bench-codec")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    if not (arguments.codec / "codec.json").exists():
        export_model_codec(arguments.model, arguments.codec)
    slots = str(max(arguments.sessions))
    print(f"{platform.machine()}, {os.cpu_count()} cores, {arguments.model.name}, one thread a step")
    options = ("--model", arguments.model, "--codec", arguments.codec, "--slots", slots, "--threads", "1")
    with worker(*options) as started:
        for sessions in arguments.sessions:
            asyncio.run(measure(started.address, CodecFolder.open(arguments.codec).spec, sessions, arguments.seconds))


if __name__ == "__main__":
    main()
