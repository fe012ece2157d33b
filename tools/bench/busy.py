"""Times steps with the threads that a worker chooses itself, with one and with two, while others want the processors.

    python -m tools.bench.busy [--model DIR] [--burners 2]

Burners are processes that compute without end, at the same priority. Every variant has a process of its own, started as
`serve` starts it, and in each round, in turn, a session whose frames come every 80 ms. Prints, as medians over the
rounds, percentiles of a step and the ratio of the default to the best count; exits with status 1 where that is above
`WITHIN`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles

import numpy as np

from antiphon.errors import AntiphonError
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.engine.host import StepperProcess
from antiphon_cloud.engine.slot import Reply
from antiphon_cloud.timing import FRAME_S
from antiphon_number_clerk import NUMBER_CLERK

WITHIN = 1.5
VARIANTS: tuple[int | None, ...] = (None, 1, 2)  # threads; None for those that the worker chooses
BURNER = "while True: pass"
SETTLE_FRAMES = 12  # that are not counted


def main() -> int:
    """Prints the figures; the exit status says whether the default is near enough to the best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=NUMBER_CLERK, help="the packaged one where absent")
    parser.add_argument("--burners", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=100)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {arguments.burners} burners")
    with burners(arguments.burners):
        steps_ms = asyncio.run(timed(arguments.model, arguments.rounds, arguments.frames))
    medians = {threads: median(map(median, rounds)) for threads, rounds in steps_ms.items()}
    for threads, rounds in steps_ms.items():
        p95 = median(quantiles(each, n=20)[-1] for each in rounds)
        print(f"{_name(threads)}: p50 {medians[threads]:.1f} ms, p95 {p95:.1f} ms")
    ratio = medians[None] / min(medians[threads] for threads in VARIANTS if threads is not None)
    print(f"default / best: {ratio:.2f}")
    return int(ratio > WITHIN)


def _name(threads: int | None) -> str:
    return "default" if threads is None else f"{threads} threads"


@contextmanager
def burners(count: int) -> Iterator[None]:
    """So many processes that want a processor each, until the block ends."""
    running = [subprocess.Popen([sys.executable, "-c", BURNER]) for _ in range(count)]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


async def timed(model: Path, rounds: int, frames: int) -> dict[int | None, list[list[float]]]:
    """Variant → the milliseconds of each step of a session, round by round."""
    steps_ms: dict[int | None, list[list[float]]] = {threads: [] for threads in VARIANTS}
    async with AsyncExitStack() as stack:
        engines = {threads: await _started(stack, model, threads) for threads in VARIANTS}
        for _ in range(rounds):
            for threads, engine in engines.items():
                steps_ms[threads].append(await _round(engine, frames))
                print(f"  {_name(threads)}: {median(steps_ms[threads][-1]):.1f} ms", flush=True)
    return steps_ms


async def _started(stack: AsyncExitStack, model: Path, threads: int | None) -> Engine:
    """A stepper as `serve` starts it."""
    arguments = {"model": str(model), "codec": str(NUMBER_CLERK / "codec"), "slots": 4, "threads": threads}
    stepper = await asyncio.to_thread(StepperProcess, "antiphon_cloud.serving.load_stepper:load_stepper", arguments)
    engine = Engine(stepper)
    await engine.start()
    stack.push_async_callback(engine.stop)
    return engine


async def _round(engine: Engine, frames: int) -> list[float]:
    """One session's steps, while the other steppers wait."""
    replies: asyncio.Queue[Reply | AntiphonError] = asyncio.Queue()
    slot = engine.take(0, engine.spec.sampling, replies.put_nowait, "the bench")
    codes, loop = np.zeros(engine.spec.user_codebooks, np.int32), asyncio.get_running_loop()
    times_ms: list[float] = []
    for sequence in range(SETTLE_FRAMES + frames):
        due_s = loop.time() + FRAME_S
        engine.submit(slot, sequence, codes)
        reply = await replies.get()
        if isinstance(reply, AntiphonError):
            raise reply
        if sequence >= SETTLE_FRAMES:
            times_ms.append(reply.step_us / 1000)
        await asyncio.sleep(max(0.0, due_s - loop.time()))
    engine.release(slot)
    return times_ms


if __name__ == "__main__":
    sys.exit(main())
