"""Kills workers with `kill -9` amid conversations, and measures the time until the edge has audio again.

    python -m tools.load.resume [--model DIR] [--trials 30] [--frames 1500]

Runs two real workers behind a TCP relay. Each trial runs a conversation of `--frames` frames as fast as possible, with
three frames in flight. At a random frame (`--seed`) it redirects the relay to the other worker and kills the one that
serves. It compares every token with those of an unbroken conversation. Until audio is back, a second edge talks to the
other worker at frame rate: its round trips show the effect of a neighbour's prefill. The rest of the conversation runs
while the worker for the next trial starts. Prints the figures as JSON; `--json` also writes them to a file. Ends with
status 1 if a frame was lost, a token differs, or a trial resumed without a prefill.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from antiphon.codes import Codes
from antiphon.spec import CodecSpec
from antiphon_cloud.codec.model_codec import export_model_codec
from antiphon_edge import Change, Reconnect, Reconnecting, Reply, Resumed, Session, connect
from tools import ROOT
from tools.harness.golden import golden
from tools.harness.relay import Relay, relay
from tools.harness.worker_process import Worker, worker
from tools.load.load_test import served

IN_FLIGHT = 3
SEED = 1

Tokens = list[tuple[int | None, list[int]]]


@dataclass
class Trial:
    """The results of one kill."""

    killed_at: int
    audio_again_s: float = 0.0
    rebuilt_steps: int = 0
    lost: int = 0
    equal: bool = False


@dataclass
class Neighbour:
    """Round trips of the second edge in milliseconds: while another session resumes, and otherwise."""

    rebuilding: bool = False
    beside_ms: list[float] = field(default_factory=list)
    otherwise_ms: list[float] = field(default_factory=list)


def tokens_of(reply: Reply) -> tuple[int | None, list[int]]:
    """The tokens of a reply."""
    return reply.text_token, [] if reply.codes is None else reply.codes.tolist()


async def converse(session: Session, user: npt.NDArray[np.int32], on_reply: Any = lambda reply: None) -> list[Reply]:
    """Sends all frames [T, user_codebooks], `IN_FLIGHT` ahead of their replies."""
    replies: list[Reply] = []
    sent = 0
    while len(replies) < len(user):
        while sent < len(user) and sent - len(replies) < IN_FLIGHT:
            await session.send(user[sent])
            sent += 1
        reply = await session.receive()
        assert reply is not None
        replies.append(reply)
        on_reply(reply)
    return replies


async def disturbed(address: str, codec: CodecSpec, frame: Codes, neighbour: Neighbour) -> None:
    """Runs the second edge at frame rate until it is cancelled."""
    async with connect(address, codec, seed=2) as session:
        while True:
            await session.send(frame)
            reply = await session.receive()
            assert reply is not None
            (neighbour.beside_ms if neighbour.rebuilding else neighbour.otherwise_ms).append(reply.round_trip_s * 1e3)
            await asyncio.sleep(max(0.0, codec.frame_s - reply.round_trip_s))


async def trial(
    victim: Worker,
    heir: Worker,
    network: Relay,
    codec: CodecSpec,
    user: npt.NDArray[np.int32],
    wanted: Tokens,
    at: int,
    neighbour: Neighbour,
    on_audio_again: Callable[[], None],
) -> Trial:
    """Kills `victim` after the reply to frame `at`; calls `on_audio_again` at the next reply."""
    result = Trial(at)
    killed_s = 0.0

    def on_change(change: Change) -> None:
        neighbour.rebuilding = not isinstance(change, Resumed)
        if isinstance(change, Reconnecting) and change.again_in_s:
            print(change)
        if isinstance(change, Resumed):
            result.rebuilt_steps = change.rebuilt_steps

    def on_reply(reply: Reply) -> None:
        nonlocal killed_s
        if reply.sequence == at:
            network.target = heir.address
            victim.process.kill()
            killed_s = time.perf_counter()
        elif killed_s and not result.audio_again_s and result.rebuilt_steps:
            result.audio_again_s = time.perf_counter() - killed_s
            talking.cancel()
            on_audio_again()

    network.target = victim.address
    talking = asyncio.create_task(disturbed(heir.address, codec, user[0], neighbour))
    try:
        async with connect(network.address, codec, seed=SEED, reconnect=Reconnect(), on_change=on_change) as session:
            replies = await converse(session, user, on_reply)
    finally:
        talking.cancel()
        with suppress(asyncio.CancelledError):
            await talking
    result.lost = len(user) - len({reply.sequence for reply in replies})
    result.equal = [tokens_of(reply) for reply in replies] == wanted
    return result


async def unbroken(address: str, codec: CodecSpec, user: npt.NDArray[np.int32]) -> Tokens:
    """The same conversation without a kill."""
    async with connect(address, codec, seed=SEED) as session:
        return [tokens_of(reply) for reply in await converse(session, user)]


async def measure(start: Any, trials: int, frames: int, seed: int) -> tuple[list[Trial], Neighbour]:
    """Runs all trials; the two workers take turns."""
    chance, neighbour, results = random.Random(seed), Neighbour(), list[Trial]()  # noqa: S311 - repeatable
    starting: list[asyncio.Future[Worker]] = []

    def start_next() -> None:
        starting.append(asyncio.ensure_future(asyncio.to_thread(start)))

    victim, heir = start(), start()
    codec, model = await served(heir.address)
    user = np.random.default_rng(seed).integers(0, model.cardinality, (frames, model.user_codebooks), dtype=np.int32)
    wanted = await unbroken(heir.address, codec, user)
    async with relay(victim.address) as network:
        for number in range(trials):
            at = chance.randrange(frames // 20, frames - frames // 20)
            more = number + 1 < trials
            then = start_next if more else lambda: None
            results.append(await trial(victim, heir, network, codec, user, wanted, at, neighbour, then))
            print(f"{number + 1}/{trials}: {results[-1]}", flush=True)
            if more:
                assert starting, "audio was heard again"
                victim, heir = heir, await starting.pop()
    return results, neighbour


def summary(results: list[Trial], neighbour: Neighbour) -> dict[str, Any]:
    """The results of a run."""

    def spread(values: list[float]) -> dict[str, float]:
        return {f"p{percent}": round(float(np.percentile(values, percent)), 1) for percent in (50, 95, 100)}

    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "trials": len(results),
        "trials without a rebuild": sum(not result.rebuilt_steps for result in results),
        "audio again ms": spread([1e3 * result.audio_again_s for result in results]),
        "steps rebuilt": max(result.rebuilt_steps for result in results),
        "frames lost": sum(result.lost for result in results),
        "conversations with other tokens": sum(not result.equal for result in results),
        "neighbour ms, beside a rebuild": spread(neighbour.beside_ms) if neighbour.beside_ms else {},
        "neighbour ms, otherwise": spread(neighbour.otherwise_ms),
    }


def main() -> None:
    """Starts the workers, runs the trials and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=golden() / "moshi-tiny")
    parser.add_argument("--codec", type=Path, default=ROOT / "build/bench-codec")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--frames", type=int, default=1500, help="per conversation; 1500 are two minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    if not (arguments.codec / "codec.json").exists():
        export_model_codec(arguments.model, arguments.codec)
    with ExitStack() as workers:

        def start() -> Worker:
            served_as = ("--model", arguments.model, "--codec", arguments.codec, "--slots", "4", "--threads", "1")
            return workers.enter_context(worker(*served_as, "--step-budget", "1e9"))  # admits all sessions

        figures = summary(*asyncio.run(measure(start, arguments.trials, arguments.frames, arguments.seed)))
    print(json.dumps(figures, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    must_be_none = ("frames lost", "conversations with other tokens", "trials without a rebuild")
    if wrong := [name for name in must_be_none if figures[name]]:
        sys.exit(f"resume: there are {', '.join(wrong)}")


if __name__ == "__main__":
    main()
