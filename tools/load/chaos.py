"""Injects faults into a fleet under load, and measures their effect on the sessions.

    python -m tools.load.chaos kill --trials 30       # kill -9 of the worker that serves a conversation
    python -m tools.load.chaos rolling --sessions 24  # drain and restart each of three workers in turn
    python -m tools.load.chaos crowd --clients 200    # reset all connections; all clients return at once
    python -m tools.load.chaos outage --seconds 5     # no bytes pass either way, then all of them
    python -m tools.load.chaos freeze                 # suspend (SIGSTOP) the busiest worker

The fleet is three workers behind Envoy with the configuration of cloud/deploy/envoy/. `kill` runs a model (`--model
DIR`), compares every token with those of an unbroken run, and prints the time until audio is back. The others run the
stub model, whose replies are known, and print lost frames, gaps between replies and round trips. `crowd` prints how
many clients were served or refused, the slowest return and the imbalance between workers.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import uvloop

from antiphon.spec import CodecSpec
from antiphon_edge import Reconnect, Reply, Session, connect
from tools import ROOT
from tools.harness.fleet import Fleet, fleet
from tools.harness.golden import golden
from tools.harness.relay import relay
from tools.harness.worker_process import STUB, Worker
from tools.load.client import Outcome, run_session
from tools.load.load_test import Load, percentiles, scripts, served

MINUTES_OF_FRAMES = 1500  # 2 minutes
AROUND_S = 2.0  # at frame rate, before and after the fault
Tokens = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Trial:
    """One conversation in which the worker was killed."""

    cut: int  # the frame at which the worker was killed
    silent_s: float  # from the kill to the next reply
    lost: int
    equal: bool  # all tokens are those of the unbroken run


def holder(running: Fleet) -> Worker:
    """The worker that Envoy has a stream to."""
    active = running.envoy.active_requests()
    return max(running.workers, key=lambda worker: active.get(worker.address, 0))


async def tokens_of(
    address: str, codec: CodecSpec, codes: Tokens, seed: int, cut: int | None = None, breaking: Any = None
) -> tuple[Tokens, float]:
    """Runs a conversation as fast as possible, but at frame rate around `cut`, where it calls `breaking()`.

    Returns:
        The tokens [frames, 1 + model_codebooks], −2 where a reply has none and −9 where there was no reply; and the
        seconds from the fault to the next reply.
    """
    broken_s = heard_s = 0.0
    async with connect(address, codec, seed=seed) as session:
        table = np.full((len(codes), 1 + session.model.model_codebooks), -9, np.int32)

        def book(reply: Reply) -> None:
            row = table[reply.sequence]
            row[:] = -2
            if reply.text_token is not None:
                row[0] = reply.text_token
            if reply.codes is not None:
                row[1:] = reply.codes

        async def send() -> None:
            nonlocal broken_s
            around = round(AROUND_S / codec.frame_s)
            for index, row in enumerate(codes):
                if cut is not None and abs(index - cut) <= around:
                    await asyncio.sleep(codec.frame_s)
                await session.send(row)
                if index == cut:
                    broken_s = time.perf_counter()
                    await asyncio.to_thread(breaking)
            await session.end()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            async for reply in session:
                book(reply)
                if broken_s and not heard_s and cut is not None and reply.sequence >= cut:
                    heard_s = time.perf_counter()
    return table, heard_s - broken_s


def kill_trials(model: Path, codec_folder: Path, trials: int, frames: int, seed: int = 1) -> Iterator[Trial]:
    """Kills the worker that serves a conversation at a random frame, `trials` times."""
    random = np.random.default_rng(seed)
    options = ("--model", model, "--codec", codec_folder, "--slots", "2", "--threads", "1")
    with fleet(*options) as running:
        codec, spec = asyncio.run(served(running.address))
        codes = random.integers(0, spec.cardinality, (frames, spec.user_codebooks), np.int32)
        unbroken, _ = uvloop.run(tokens_of(running.address, codec, codes, seed))
        for _ in range(trials):
            cut = int(random.integers(1, frames - 1))
            broken, silent_s = uvloop.run(
                tokens_of(running.address, codec, codes, seed, cut, lambda: holder(running).kill())
            )
            lost = int((broken == -9).all(1).sum())
            yield Trial(cut, silent_s, lost, bool((broken == unbroken).all()))
            running.mend()


async def under_load(address: str, load: Load, breaking: Any, reconnect: Reconnect | None = None) -> list[Outcome]:
    """Runs the load, and `breaking(start_s)` in a thread beside it."""
    codec, model = await served(address)
    start_s = time.perf_counter() + 0.1
    sessions = [
        asyncio.create_task(run_session(address, codec, script, start_s))
        for script in scripts(load, model, codec.frame_s, None)
    ]
    await asyncio.to_thread(breaking, start_s)
    return await asyncio.gather(*sessions)


def rolling_restart(sessions: int, seconds: float, between_s: float = 1.0) -> list[Outcome]:
    """Drains and restarts each of three stub workers in turn, under load."""
    with fleet("--slots", str(sessions), "--drain", "30", program=STUB) as running:

        def restart_all(start_s: float) -> None:
            time.sleep(max(0.0, start_s + 2 - time.perf_counter()))
            for index, worker in enumerate(running.workers):
                worker.drain()
                running.restart(index)
                running.envoy.wait_until_healthy(len(running.workers))
                time.sleep(between_s)

        return uvloop.run(under_load(running.address, Load(sessions, seconds, ramp_s=1.0), restart_all))


def freeze(sessions: int, seconds: float) -> list[Outcome]:
    """Suspends the busiest of three stub workers for the rest of the load."""
    with fleet("--slots", str(sessions), program=STUB) as running:

        def stop(start_s: float) -> None:
            time.sleep(max(0.0, start_s + seconds / 4 - time.perf_counter()))
            holder(running).freeze()

        try:
            return uvloop.run(under_load(running.address, Load(sessions, seconds), stop))
        finally:
            for worker in running.workers:
                worker.thaw()


def outage(sessions: int, seconds: float, cut: bool) -> list[Outcome]:
    """Stalls the network between edges and fleet for `seconds`, then delivers the held bytes or resets everything."""
    with fleet("--slots", str(sessions), program=STUB) as running:

        async def broken() -> list[Outcome]:
            codec, model = await served(running.address)
            async with relay(running.address) as network:
                start_s = time.perf_counter() + 0.1
                load = scripts(Load(sessions, seconds + 6), model, codec.frame_s, None)
                talking = [asyncio.create_task(run_session(network.address, codec, each, start_s)) for each in load]
                await asyncio.sleep(2)
                network.stall()
                await asyncio.sleep(seconds)
                if cut:
                    network.cut()
                network.resume()
                return await asyncio.gather(*talking)

        return uvloop.run(broken())


@dataclass(frozen=True, slots=True)
class Return:
    """How the clients of `crowd` came back."""

    served: int
    refused: dict[str, int]
    slowest_s: float  # from the fault to a session's next reply, or to its refusal
    imbalance: int  # sessions of the fullest worker minus those of the emptiest


def crowd(clients: int, size: int = 3) -> Return:
    """Resets the connections of all clients at once; all of them return at once."""
    slots = -(-clients // size) + 8
    with fleet("--slots", str(slots), size=size, program=STUB) as running:
        return uvloop.run(_crowd(running, clients))


async def _crowd(running: Fleet, clients: int) -> Return:
    codec, _ = await served(running.address)
    codes = np.zeros(codec.codebooks, np.int32)
    refused: dict[str, int] = {}
    waits: list[float] = []

    async def talk(session: Session) -> None:
        await session.send(codes)
        assert await session.receive() is not None

    async with relay(running.address) as network:
        sessions = [connect(network.address, codec, seed=index) for index in range(clients)]
        opened = []
        for session in sessions:  # in turn: only their return is measured
            opened.append(await session.__aenter__())
            await talk(opened[-1])

        broken_s = time.perf_counter()
        network.cut()

        async def come_back(session: Session) -> None:
            try:
                await talk(session)
            except Exception as error:  # noqa: BLE001 - counted by name
                refused[type(error).__name__] = refused.get(type(error).__name__, 0) + 1
            waits.append(time.perf_counter() - broken_s)

        await asyncio.gather(*map(come_back, opened))
        active = (await asyncio.to_thread(running.envoy.active_requests)).values()
        for session in sessions:
            await session.__aexit__(None, None, None)
    return Return(clients - sum(refused.values()), refused, max(waits), max(active) - min(active))


def report(outcomes: Sequence[Outcome]) -> None:
    """Prints the results of the sessions."""
    failed = [outcome.error for outcome in outcomes if outcome.error]
    print(
        f"{len(outcomes)} sessions, {len(failed)} failed; frames: {sum(o.sent for o in outcomes)} sent, "
        f"{sum(o.lost for o in outcomes)} lost, {sum(o.repeated for o in outcomes)} repeated, "
        f"{sum(o.reordered for o in outcomes)} reordered, {sum(o.foreign for o in outcomes)} foreign; "
        f"{sum(len(o.resumed) for o in outcomes)} resumptions"
    )
    print(f"longest gap between replies, by session (ms): {percentiles([o.longest_gap_ms] for o in outcomes)}")
    print(f"round trip (ms): {percentiles(o.round_trip_ms for o in outcomes)}")
    for error in failed[:3]:
        print(f"failed: {error}")


def main() -> None:
    """Runs one experiment and prints its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=["kill", "rolling", "crowd", "outage", "freeze"])
    parser.add_argument("--model", type=Path, default=golden() / "moshi-tiny")
    parser.add_argument("--codec", type=Path, default=ROOT / "build/bench-codec")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--frames", type=int, default=MINUTES_OF_FRAMES, help="frames per conversation of kill")
    parser.add_argument("--sessions", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--reset", action="store_true", help="the outage ends with every connection reset")
    arguments = parser.parse_args()
    match arguments.experiment:
        case "kill":
            if not (arguments.codec / "codec.json").exists():
                from antiphon_cloud.codec.model_codec import export_model_codec  # torch takes seconds

                export_model_codec(arguments.model, arguments.codec)
            trials = []
            for trial in kill_trials(arguments.model, arguments.codec, arguments.trials, arguments.frames):
                print(trial, flush=True)
                trials.append(trial)
            silent = np.array([trial.silent_s for trial in trials])
            print(
                f"{len(trials)} kills: audio again after p50 {np.percentile(silent, 50):.2f}, p95 "
                f"{np.percentile(silent, 95):.2f}, at most {silent.max():.2f} s; {sum(t.lost for t in trials)} frames "
                f"lost; tokens equal in {sum(t.equal for t in trials)}"
            )
        case "rolling":
            report(rolling_restart(arguments.sessions, arguments.seconds))
        case "crowd":
            print(crowd(arguments.clients))
        case "outage":
            report(outage(arguments.sessions, arguments.seconds, arguments.reset))
        case "freeze":
            report(freeze(arguments.sessions, arguments.seconds))


if __name__ == "__main__":
    main()
