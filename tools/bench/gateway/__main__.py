"""Measures what the gateway adds to a conversation, what each hop costs, and how many conversations one core carries.

    python -m tools.bench.gateway [--codec DIR] [--sessions 24] [--seconds 20]

A stub worker, which answers at once with what it hears, serves the codec; the gateway has one core and one thread for
the codec. The latency of a frame goes from its last sample, sent, to the first of the reply to it, heard, in real time;
what a door adds is the difference of the medians. Opus' own 13 ms (it looks ahead on both ways) and a client's playout
are not in it. Many conversations go as fast as the gateway, each with two frames in flight. Sessions a core follow from
the processor time that the gateway's process, and no other, takes for a frame that is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from antiphon_edge import Codec
from antiphon_number_clerk import NUMBER_CLERK
from tools.bench.gateway.clients import (
    FRAME_S,
    Clock,
    Lockstep,
    Pace,
    RealTime,
    chat,
    chat_messages,
    direct,
    realtime,
    realtime_messages,
)
from tools.bench.gateway.hops import of_codec, of_json, of_opus, of_the_worker
from tools.harness.worker_process import GATEWAY, STUB, worker

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
HOP_FRAMES = 60
ROUNDS = 3  # of which the least counts: others use the machine

Conversation = Callable[[str, Pace], Coroutine[Any, Any, Clock]]


@contextmanager
def gateway(server: str, threads: int, core: int) -> Iterator[tuple[str, int]]:
    """The address and the process of a gateway on one core, until the block ends."""
    command = [*map(str, GATEWAY), "--server", server, "--listen", "127.0.0.1:0", "--threads", str(threads)]
    command += ["--calls", "1000"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit(process.wait() or 1)
        try:
            yield line.removeprefix("listening on ").strip(), process.pid
        finally:
            process.terminate()


def processor_s(pid: int) -> float:
    """Seconds that a process has computed, its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


async def frame_us(way: Conversation, address: str, pid: int, sessions: int, frames: int) -> float:
    """The processor time of a frame of so many conversations at once, of `frames` each, in microseconds."""
    begin, end = asyncio.Barrier(sessions + 1), asyncio.Barrier(sessions + 1)
    paces = [Lockstep(begin, end) for _ in range(sessions)]
    async with asyncio.TaskGroup() as talking:
        for pace in paces:
            talking.create_task(way(address, pace))
        await begin.wait()
        begun_s, heard = processor_s(pid), sum(pace.heard for pace in paces)
        await end.wait()
        used_s = processor_s(pid) - begun_s
        return 1e6 * used_s / (sum(pace.heard for pace in paces) - heard)


def row(name: str, clock: Clock, beside_ms: float | None = None) -> float:
    """Prints a line of the table, and returns its median."""
    p50, p95, p99 = np.percentile(clock.latencies_ms(), [50, 95, 99])
    added = "" if beside_ms is None else f"{p50 - beside_ms:>10.1f}"
    print(f"{name:<16}{p50:>9.1f}{p95:>9.1f}{p99:>9.1f}{added}", flush=True)
    return float(p50)


def print_hops(door: str, hops: dict[str, float], whole_us: float) -> None:
    """Prints the budget of a frame."""
    print(f"\n{door:<40}{'µs of a core':>14}")
    rest = {"WebSocket, event loop, hand-overs": whole_us - sum(hops.values())}
    for name, cost in {**hops, **rest, "all, of the gateway's process": whole_us}.items():
        print(f"{name:<40}{cost:>14.0f}", flush=True)


def main() -> None:
    """Measures one conversation each way, then many through each door, then each hop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", type=Path, default=NUMBER_CLERK / "codec", help="folder of an exported codec")
    parser.add_argument("--sessions", type=int, default=24, help="conversations at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="of each conversation (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of the codec (default: %(default)s)")
    parser.add_argument("--core", type=int, default=0, help="that the gateway has (default: %(default)s)")
    arguments = parser.parse_args()
    frames = round(arguments.seconds / FRAME_S)
    codec = Codec.load(arguments.codec)
    ways: dict[str, Conversation] = {
        "/v1/realtime": partial(realtime, messages=realtime_messages(frames)),
        "/api/chat": partial(chat, messages=chat_messages(frames)),
    }
    beside = partial(direct, codec=codec, frames=frames)
    stub = ("--echo", arguments.codec, "--slots", str(2 * arguments.sessions + 8))
    with worker(*stub, program=STUB) as served:
        print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {arguments.codec}")
        print(f"\n{'1 session (ms)':<16}{'p50':>9}{'p95':>9}{'p99':>9}{'added':>10}")
        with gateway(served.address, arguments.threads, arguments.core) as (address, pid):
            beside_ms = row("direct edge", asyncio.run(beside(served.address, RealTime())))
            for name, way in ways.items():
                row(name, asyncio.run(way(address, RealTime())), beside_ms)
            print(f"\n{f'{arguments.sessions} sessions':<16}{'µs of a core':>14}{'sessions a core':>17}")
            whole_us = {}
            for name, way in ways.items():
                costs = (asyncio.run(frame_us(way, address, pid, arguments.sessions, frames)) for _ in range(ROUNDS))
                whole_us[name] = min(costs)
                print(f"{name:<16}{whole_us[name]:>14.0f}{1e6 * FRAME_S / whole_us[name]:>17.1f}", flush=True)
        shared, codes = of_codec(codec, arguments.codec, HOP_FRAMES)
        shared |= of_the_worker(served.address, codec, codes)
    print_hops("/v1/realtime, a frame both ways", of_json(HOP_FRAMES) | shared, whole_us["/v1/realtime"])
    print_hops("/api/chat, a frame both ways", of_opus(HOP_FRAMES) | shared, whole_us["/api/chat"])


if __name__ == "__main__":
    main()
