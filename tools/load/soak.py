"""An hour of conversations through one worker, as fast as it goes: does anything grow?

    python -m tools.load.soak                 # 45,000 frames of 80 ms, with the stub model
    python -m tools.load.soak --model DIR     # the same with a real one

Sessions talk in lockstep all the while. Beside them visitors come and go in every way there is: they close, they
vanish, their connection is reset. A hundred times the worker is asked for its memory, its open files and its tasks, and
this process, which holds the edges, for its own. Ends with status 1 where any of them grows. Needs Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from antiphon.errors import AntiphonError
from antiphon.spec import CodecSpec
from antiphon_edge import NEVER, Session, connect
from tools.harness import loopback
from tools.harness.fleet import unused_addresses
from tools.harness.process_memory import memory_bytes
from tools.harness.relay import Relay, relay
from tools.harness.worker_process import SERVE, STUB, worker
from tools.load.load_test import served

SAMPLES = 100
VISITORS_SLOTS = 16  # a slot is kept for a moment after each of them
MEMORY_GROWTH_KIB = 2048  # over nine tenths of the run: what the allocator's own moods come to


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process holds."""

    memory_kib: float
    open_files: float
    tasks: float


def of_worker(metrics: str) -> Footprint:
    """What the worker says of itself at `metrics` (HOST:PORT)."""
    families = text_string_to_metric_families(loopback.get(f"http://{metrics}/metrics").decode())
    values = {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}
    memory, files = (
        values[f"process_{what}"] + values[f"stepper_process_{what}"] for what in ("resident_memory_bytes", "open_fds")
    )
    return Footprint(memory / 1024, files, values["antiphon_tasks"])


def of_edges() -> Footprint:
    """What this process holds."""
    return Footprint(memory_bytes() / 1024, len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks()))


async def talk(session: Session, random: np.random.Generator, frames: int) -> list[float]:
    """Sends frames in lockstep; the round trip of each in ms."""
    model, round_trips_ms = session.model, []
    for _ in range(frames):
        await session.send(random.integers(0, model.cardinality, model.user_codebooks, np.int32))
        reply = await session.receive()
        assert reply is not None
        round_trips_ms.append(reply.round_trip_s * 1e3)
    return round_trips_ms


async def visit(network: Relay, codec: CodecSpec, random: np.random.Generator) -> None:
    """One visitor who closes the session, one who vanishes, and one whose connection is reset."""
    for leave in ("close", "vanish", "reset"):
        with suppress(AntiphonError):  # of the one that is reset
            async with connect(network.address, codec, reconnect=NEVER) as session:
                await talk(session, random, 5)
                match leave:
                    case "close":
                        await session.end()
                        await session.receive()
                    case "reset":
                        network.cut()
                        await session.receive()


async def soak(
    address: str, metrics: str, sessions: int, frames: int
) -> tuple[list[Footprint], list[Footprint], list[float]]:
    """`SAMPLES` footprints of the worker and of the edges, and the median round trip in ms before each."""
    codec, _ = await served(address)
    random = np.random.default_rng(1)
    workers, edges, medians_ms = [], [], []
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(relay(address))
        talking = [await stack.enter_async_context(connect(address, codec, seed=seed)) for seed in range(sessions)]
        for sample in range(SAMPLES):
            visiting = asyncio.create_task(visit(network, codec, random))
            took_ms = await asyncio.gather(*(talk(session, random, frames // SAMPLES) for session in talking))
            await visiting
            network.traffic.up.clear()  # the relay keeps a note of every chunk
            network.traffic.down.clear()
            workers.append(await asyncio.to_thread(of_worker, metrics))
            edges.append(of_edges())
            medians_ms.append(float(np.median(took_ms)))
            if sample % 10 == 0:
                print(f"frame {(sample + 1) * frames // SAMPLES}: {workers[-1]}, {medians_ms[-1]:.2f} ms", flush=True)
    return workers, edges, medians_ms


def growth(footprints: Sequence[Footprint], frames: int) -> dict[str, Any]:
    """How each part went: its median in the second tenth and in the last, and the slope between in 1,000 frames."""
    table = np.array([astuple(each) for each in footprints])  # [samples, parts]
    tenth = len(table) // 10
    at = np.arange(tenth, len(table)) * (frames / len(table) / 1000)
    return {
        name: {
            "after a tenth": round(float(np.median(column[tenth : 2 * tenth])), 1),
            "at the end": round(float(np.median(column[-tenth:])), 1),
            "most": round(float(column.max()), 1),
            "in 1,000 frames": round(float(np.polyfit(at, column[tenth:], 1)[0]), 4),
        }
        for name, column in zip(Footprint.__slots__, table.T, strict=True)
    }


def grown(parts: dict[str, Any]) -> list[str]:
    """The parts that are larger at the end than after a tenth."""
    allowed = {"memory_kib": MEMORY_GROWTH_KIB}
    return [name for name, part in parts.items() if part["at the end"] > part["after a tenth"] + allowed.get(name, 0)]


def main() -> None:
    """Soaks a worker, prints what it came to, and says whether it grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model directory; the stub model where absent")
    parser.add_argument("--frames", type=int, default=45_000, help="of each session; 45,000 are an hour")
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    (metrics,) = unused_addresses(1)
    flags: list[str | Path] = ["--slots", str(arguments.sessions + VISITORS_SLOTS), "--metrics-listen", metrics]
    if arguments.model:
        flags += ["--model", arguments.model, "--step-budget", "1e9"]
    with worker(*flags, program=SERVE if arguments.model else STUB) as started:
        workers, edges, medians_ms = uvloop.run(soak(started.address, metrics, arguments.sessions, arguments.frames))
    tenth = SAMPLES // 10
    at = np.arange(tenth, SAMPLES) * (arguments.frames / SAMPLES / 1000)
    figures = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "frames": arguments.frames * arguments.sessions,
        "visitors": 3 * SAMPLES,
        "worker": growth(workers, arguments.frames),
        "edges": growth(edges, arguments.frames),
        "round trip ms": {
            "p50 in the second tenth": round(float(np.median(medians_ms[tenth : 2 * tenth])), 3),
            "p50 in the last": round(float(np.median(medians_ms[-tenth:])), 3),
            "in 1,000 frames": round(float(np.polyfit(at, medians_ms[tenth:], 1)[0]), 5),
        },
    }
    print(json.dumps(figures, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    if found := [f"{who}: {part}" for who in ("worker", "edges") for part in grown(figures[who])]:
        sys.exit(f"soak_service: this grew: {', '.join(found)}")


if __name__ == "__main__":
    main()
