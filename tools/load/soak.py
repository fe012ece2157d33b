"""Runs an hour of conversations through one worker, as fast as possible, and checks that nothing leaks.

    python -m tools.load.soak                 # 45,000 frames of 80 ms, with the stub model
    python -m tools.load.soak --model DIR     # the same with a real model
    python -m tools.load.soak --model DIR --script    # with one that reads a script of an hour aloud

Long sessions send frames in lockstep. Short sessions beside them end in three ways: they close, they vanish without a
Close, or their connection is reset. The tool samples memory, open files and tasks 100 times, of the worker and of this
process, which runs the edges. Prints the growth of each as JSON. Ends with status 1 if any of them grew. Needs Linux.
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
VISITORS_SLOTS = 16  # a slot stays detached for a while after each short session
WORDS = ("a", "script", "of", "an", "hour", "takes", "no", "more", "memory", "than", "one", "of", "a", "minute")
MEMORY_GROWTH_KIB = 2048  # over nine tenths of the run: the allocator's own variation


@dataclass(frozen=True, slots=True)
class Footprint:
    """The resources of a process."""

    memory_kib: float
    open_files: float
    tasks: float


def of_worker(metrics: str) -> Footprint:
    """The worker's resources, from its metrics at `metrics` (HOST:PORT)."""
    families = text_string_to_metric_families(loopback.get(f"http://{metrics}/metrics").decode())
    values = {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}
    memory, files = (
        values[f"process_{what}"] + values[f"stepper_process_{what}"] for what in ("resident_memory_bytes", "open_fds")
    )
    return Footprint(memory / 1024, files, values["antiphon_tasks"])


def of_edges() -> Footprint:
    """The resources of this process."""
    return Footprint(memory_bytes() / 1024, len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks()))


async def talk(session: Session, random: np.random.Generator, frames: int) -> list[float]:
    """Sends frames in lockstep; returns the round trip of each in ms."""
    model, round_trips_ms = session.model, []
    for _ in range(frames):
        await session.send(random.integers(0, model.cardinality, model.user_codebooks, np.int32))
        reply = await session.receive()
        assert reply is not None
        round_trips_ms.append(reply.round_trip_s * 1e3)
    return round_trips_ms


async def read_aloud(session: Session, random: np.random.Generator, frames: int) -> list[float]:
    """As `talk`, of a model that reads aloud: for each word that begins one more is given."""
    round_trips_ms = []
    for _ in range(frames):
        await session.send()
        reply = await session.receive()
        assert reply is not None
        if reply.said is not None:
            await session.say(f"{WORDS[random.integers(len(WORDS))]} ")
        round_trips_ms.append(reply.round_trip_s * 1e3)
    return round_trips_ms


async def visit(network: Relay, codec: CodecSpec, random: np.random.Generator, script: bool) -> None:
    """Runs three short sessions: one closes, one vanishes, and one has its connection reset."""
    for leave in ("close", "vanish", "reset"):
        with suppress(AntiphonError):  # of the session that is reset
            async with connect(network.address, codec, reconnect=NEVER) as session:
                await begin(session, script)
                await (read_aloud if script else talk)(session, random, 5)
                match leave:
                    case "close":
                        await session.end()
                        await session.receive()
                    case "reset":
                        network.cut()
                        await session.receive()


async def begin(session: Session, script: bool) -> None:
    """Gives a script's first words, so many that the model never waits for one."""
    if script:
        await session.say(f"{' '.join(WORDS)} ")


async def soak(
    address: str, metrics: str, sessions: int, frames: int, script: bool
) -> tuple[list[Footprint], list[Footprint], list[float]]:
    """Samples the footprints of worker and edges `SAMPLES` times, and the median round trip in ms before each."""
    codec, _ = await served(address)
    random = np.random.default_rng(1)
    workers, edges, medians_ms = [], [], []
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(relay(address))
        talking = [await stack.enter_async_context(connect(address, codec, seed=seed)) for seed in range(sessions)]
        for session in talking:
            await begin(session, script)
        go_on = read_aloud if script else talk
        for sample in range(SAMPLES):
            visiting = asyncio.create_task(visit(network, codec, random, script))
            took_ms = await asyncio.gather(*(go_on(session, random, frames // SAMPLES) for session in talking))
            await visiting
            network.traffic.up.clear()  # the relay logs every chunk
            network.traffic.down.clear()
            workers.append(await asyncio.to_thread(of_worker, metrics))
            edges.append(of_edges())
            medians_ms.append(float(np.median(took_ms)))
            if sample % 10 == 0:
                print(f"frame {(sample + 1) * frames // SAMPLES}: {workers[-1]}, {medians_ms[-1]:.2f} ms", flush=True)
    return workers, edges, medians_ms


def growth(footprints: Sequence[Footprint], frames: int) -> dict[str, Any]:
    """The growth of each part: its median in the second and in the last tenth, and its slope per 1,000 frames."""
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
    """Runs the sessions, prints the growth, and fails if there is any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model directory (default: the stub model)")
    parser.add_argument("--frames", type=int, default=45_000, help="frames per session; 45,000 are an hour")
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--script", action="store_true", help="the model reads aloud what it is given, word by word")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    (metrics,) = unused_addresses(1)
    flags: list[str | Path] = ["--slots", str(arguments.sessions + VISITORS_SLOTS), "--metrics-listen", metrics]
    if arguments.model:
        flags += ["--model", arguments.model, "--step-budget", "1e9"]
    with worker(*flags, program=SERVE if arguments.model else STUB) as started:
        workers, edges, medians_ms = uvloop.run(
            soak(started.address, metrics, arguments.sessions, arguments.frames, arguments.script)
        )
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
        sys.exit(f"soak: this grew: {', '.join(found)}")


if __name__ == "__main__":
    main()
