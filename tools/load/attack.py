"""Measures the effect of each attack on another session of the same worker, and prints a table.

    python -m tools.load.attack [--only NAME ...] [--no-keys] [--seconds 10]

Each attack (`attacks.py`, in its own process at nice 5) gets its own worker: `antiphon-cloud serve` with the packaged
model, one thread and a drain of 2 s. During the attack, a victim session sends a frame every 80 ms. Its latency counts
from when the frame was due, so that a delay in sending counts too. Every second a newcomer opens a session and waits
for one reply. Then the worker gets SIGTERM while the attack continues. Victim, attacker and newcomers have a key each;
with --no-keys the attacker uses another address instead (127.0.0.2, which works on Linux).

The column "others" is the number of processors that were busy with other programs. Repeat a row that misses its limits
while others are busy. After the table, the tool prints where a row misses its limits.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import grpc
import numpy as np
import uvloop

from antiphon.errors import AntiphonError
from antiphon.serving.key_edit import make_key
from antiphon.spec import ModelSpec
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.timing import FRAME_MS, FRAME_S
from antiphon_edge.transport.channel import open_channel
from antiphon_edge.transport.credentials import PLAINTEXT, Credentials
from tools.harness.fleet import unused_addresses
from tools.harness.worker_process import Worker, worker
from tools.load.attacks import ATTACKS, NONE, Target

DRAIN_S = 2.0
SEED = 7
NEWCOMER_TIMEOUT_S = 5.0
NEWCOMERS_EVERY_S = 1.0
VICTIM_TIMEOUT_S = 30.0  # after the time of its frames
END_TIMEOUT_S = 30.0
P99_MAY_MOVE_MS, LATE_MS = 20.0, FRAME_MS
COLUMNS = (
    *("attack", "p50 ms", "p99 ms", "worst ms", "late", "tokens", "newcomers", "SIGTERM s"),
    *("log lines", "others", "what the attacker did"),
)


@dataclass(slots=True)
class Victim:
    """The results of the session beside the attack."""

    took_ms: list[float] = field(default_factory=list)  # per frame, from when it was due to its reply
    tokens: str = ""  # digest of all tokens
    error: str | None = None


@dataclass(slots=True)
class Row:
    """The results of one attack."""

    name: str
    victim: Victim
    same: bool
    newcomers: Counter[str]  # by error; "" was admitted
    end_s: float | None  # from SIGTERM to the end; None if the worker had to be killed
    logged: int  # lines in the worker's log
    others: float  # processors that were busy with other programs
    done: dict[str, int]  # what the attacker did

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the victim's latency."""
        return float(np.percentile(self.victim.took_ms or [np.nan], percent))

    @property
    def late(self) -> int:
        """The victim's frames whose reply came after the next frame was due."""
        return sum(took_ms > LATE_MS for took_ms in self.victim.took_ms)

    def cells(self) -> list[str]:
        """One cell per column."""
        ended = f"over {END_TIMEOUT_S:g}" if self.end_s is None else f"{self.end_s:.1f}"
        return [
            self.name,
            *(f"{self.percentile_ms(percent):.1f}" for percent in (50, 99, 100)),
            str(self.late),
            "same" if self.same else "OTHERS",
            f"{self.newcomers['']} of {self.newcomers.total()}",
            ended,
            str(self.logged),
            f"{self.others:.1f}",
            ", ".join(f"{what} {count:,}" for what, count in self.done.items()) or "nothing",
        ]

    def misses(self, alone: Row | None) -> Iterator[str]:
        """The limits that it misses, and why newcomers were refused.

        Args:
            alone: the row without an attack, if there is one.
        """
        if self.victim.error:
            yield f"the victim's session ended: {self.victim.error}"
        elif not self.same:
            yield "the victim got other tokens than without the attack"
        if alone and (moved_ms := self.percentile_ms(99) - alone.percentile_ms(99)) >= P99_MAY_MOVE_MS:
            yield f"the victim's p99 moved by {moved_ms:.0f} ms"
        if self.late:
            yield f"{self.late} frames of the victim came later than {LATE_MS:g} ms"
        for reason, count in self.newcomers.items():
            if reason:
                yield f"{count} newcomers were not let in: {reason}"
        if self.end_s is None or self.end_s > DRAIN_S + 1:
            yield f"SIGTERM took longer than {DRAIN_S + 1:g} s"


@dataclass(frozen=True, slots=True)
class Keys:
    """A worker's key file and the clients' keys; None if the worker needs no key."""

    file: Path | None = None
    victim: str | None = None
    attacker: str | None = None
    newcomer: str | None = None

    @classmethod
    def make(cls, file: Path, sessions: int | None = None) -> Keys:
        """Makes three keys with at most `sessions` sessions each; None for the worker's default."""
        return cls(file, *(make_key(file, name, sessions) for name in ("victim", "attacker", "newcomer")))


def presenting(key: str | None) -> Credentials:
    """The credentials of a client with `key`."""
    return Credentials(api_key=key) if key else PLAINTEXT


async def talk(
    stub: Any, served: pb.GetModelResponse, frames: int, every_s: float, begin: Callable[[], None] = lambda: None
) -> Victim:
    """Runs a session of random frames, one every `every_s` whether or not replies come; calls `begin` once open."""
    outcome, model = Victim(), ModelSpec.from_message(served.model)
    codes = np.random.default_rng(SEED).integers(0, model.cardinality, (frames, model.user_codebooks), np.int32)
    packed, digest = [model.user_packer.pack(frame) for frame in codes], hashlib.sha256()
    call = stub.Converse()

    async def say(begin_s: float) -> None:
        for index, frame in enumerate(packed):
            if (wait_s := begin_s + index * every_s - time.perf_counter()) > 0:
                await asyncio.sleep(wait_s)
            with suppress(asyncio.InvalidStateError):  # the call has ended: `hear` reports why
                await call.write(pb.ConverseRequest(codes=frame))

    async def hear(begin_s: float) -> None:
        for index in range(frames):
            reply = await call.read()
            if not isinstance(reply, pb.ConverseResponse):
                raise AntiphonError(f"the call ended after {index} replies: {await call.details()}")
            outcome.took_ms.append((time.perf_counter() - begin_s - index * every_s) * 1e3)
            token = reply.text_token if reply.HasField("text_token") else None
            digest.update(f"{reply.codes.hex()} {token}\n".encode())

    try:
        opening = pb.Open(codec_fingerprint=served.codec.fingerprint, seed=SEED)
        await call.write(pb.ConverseRequest(open=opening))
        if not isinstance(await call.read(), pb.ConverseResponse):
            raise AntiphonError(f"no session: {await call.details()}")
        begin()
        begin_s = time.perf_counter()
        async with asyncio.timeout(frames * every_s + VICTIM_TIMEOUT_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(say(begin_s))
            tasks.create_task(hear(begin_s))
        async with asyncio.timeout(VICTIM_TIMEOUT_S):
            await call.write(pb.ConverseRequest(close=pb.Close()))
            await call.read()
    except* (AntiphonError, TimeoutError, grpc.aio.AioRpcError) as errors:
        error = first(errors)
        outcome.error = (error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)) or "no reply came"
    finally:
        call.cancel()
    outcome.tokens = digest.hexdigest()
    return outcome


def first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def come(address: str, key: str | None, fingerprint: bytes, frame: bytes) -> str:
    """Runs a newcomer that waits for one reply; returns "" if it came, else why not."""
    try:
        async with asyncio.timeout(NEWCOMER_TIMEOUT_S), open_channel(address, presenting(key)) as stub:
            call = stub.Converse()
            opening = pb.Open(codec_fingerprint=fingerprint)
            for request in (
                pb.ConverseRequest(open=opening),
                pb.ConverseRequest(codes=frame),
                pb.ConverseRequest(close=pb.Close()),
            ):
                await call.write(request)
                if not isinstance(await call.read(), pb.ConverseResponse):
                    return f"the call ended with {await call.details()}"
            return ""
    except AntiphonError as error:
        return str(error)
    except TimeoutError:
        return f"nothing came in {NEWCOMER_TIMEOUT_S:g} s"


async def come_every_second(address: str, key: str | None, served: pb.GetModelResponse, seconds: float) -> Counter[str]:
    """Starts a newcomer every second; returns how many ended in which way."""
    model = ModelSpec.from_message(served.model)
    frame = model.user_packer.pack(np.zeros(model.user_codebooks, np.int32))
    begin_s = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        coming = []
        for number in range(max(1, int(seconds / NEWCOMERS_EVERY_S))):
            await asyncio.sleep(begin_s + (number + 0.5) * NEWCOMERS_EVERY_S - time.perf_counter())
            coming.append(tasks.create_task(come(address, key, served.codec.fingerprint, frame)))
    return Counter(task.result() for task in coming)


class Attacker:
    """The process of an attack, which waits for `begin`.

    Args:
        name: name of the attack.
        target: the worker to attack.
    """

    def __init__(self, name: str, target: Target) -> None:
        command = [sys.executable, "-m", "tools.load.attacks", name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._say(json.dumps(asdict(target)))
        if self._hear() != "ready":
            self.end()

    def begin(self) -> None:
        """Starts the attack."""
        self._say("go")

    def end(self) -> dict[str, int]:
        """Ends the attack; returns what it did.

        Raises:
            SystemExit: it failed; its standard error says why.
        """
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            line = self._hear()
        if not line:
            raise SystemExit("the attacker failed: its row means nothing")
        done: dict[str, int] = json.loads(line)
        return done

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


async def beside(
    started: Worker, keys: Keys, served: pb.GetModelResponse, seconds: float, begin: Callable[[], None]
) -> tuple[Victim, Counter[str]]:
    """Runs a victim and newcomers beside the attack that `begin` starts."""
    async with open_channel(started.address, presenting(keys.victim)) as stub:
        frames = max(1, round(seconds / FRAME_S))
        newcomers = asyncio.create_task(come_every_second(started.address, keys.newcomer, served, seconds))
        return await talk(stub, served, frames, FRAME_S, begin), await newcomers


async def undisturbed(started: Worker, keys: Keys, seconds: float) -> tuple[pb.GetModelResponse, Victim]:
    """What the worker serves, and the victim's session run alone, as fast as possible."""
    async with open_channel(started.address, presenting(keys.victim)) as stub:
        served: pb.GetModelResponse = await stub.GetModel(pb.GetModelRequest())
        return served, await talk(stub, served, max(1, round(seconds / FRAME_S)), 0.0)


def end(started: Worker) -> float | None:
    """Sends the worker SIGTERM; returns the seconds until it ended, or None if it had to be killed."""
    asked_s = time.perf_counter()
    started.drain()
    try:
        started.process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        started.kill()
        return None
    return time.perf_counter() - asked_s


def busy_s() -> tuple[float, float]:
    """Processor time of all programs since the machine started, and that of this process and its ended children."""
    ticks = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
    user, nice, system, _, _, *interrupts = ticks
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own_s = sum(usage.ru_utime + usage.ru_stime for usage in own)
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK"), own_s


def run(name: str, keys: Keys, seconds: float) -> Row:
    """Runs one attack on a worker of its own."""
    metrics = unused_addresses(1)[0]
    began_s, (all_s, own_s) = time.perf_counter(), busy_s()
    flags: list[str | Path] = ["--threads", "1", "--drain", str(DRAIN_S), "--metrics-listen", metrics]
    if keys.file:
        flags += ["--api-keys", keys.file]
    with TemporaryFile("w+") as log, worker(*flags, stderr=log) as started:
        served, alone = uvloop.run(undisturbed(started, keys, seconds))
        source = None if keys.file else "127.0.0.2"
        target = Target(started.address, metrics, served.SerializeToString().hex(), keys.attacker, source)
        attacker = Attacker(name, target)
        try:
            victim, newcomers = uvloop.run(beside(started, keys, served, seconds, attacker.begin))
            end_s = end(started)
        finally:
            done = attacker.end()
        log.seek(0)
        logged = sum(1 for _ in log)
    same = victim.error is None and victim.tokens == alone.tokens
    all_s, own_s = busy_s()[0] - all_s, busy_s()[1] - own_s
    others = max(0.0, (all_s - own_s) / (time.perf_counter() - began_s))
    return Row(name, victim, same, newcomers, end_s, logged, others, done)


def table_line(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the attacks; prints a row for each, then the limits that rows miss."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = tuple(ATTACKS)
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    parser.add_argument("--no-keys", action="store_true", help="the worker needs no keys")
    parser.add_argument("--sessions", type=int, metavar="N", help="at once, per key (default: all slots)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each attack (default: %(default)s)")
    options = parser.parse_args(arguments)
    print(f"{platform.machine()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before", flush=True)
    print(table_line(COLUMNS))
    print(table_line(["---"] * len(COLUMNS)), flush=True)
    rows: list[Row] = []
    with TemporaryDirectory() as folder:
        keys = Keys() if options.no_keys else Keys.make(Path(folder) / "keys.toml", options.sessions)
        for name in options.only or names:
            rows.append(run(name, keys, options.seconds))
            print(table_line(rows[-1].cells()), flush=True)
    print(f"load average {os.getloadavg()[0]:.1f} after")
    alone = next((row for row in rows if row.name == NONE), None)
    for row in rows:
        for miss in row.misses(alone):
            print(f"{row.name}: {miss}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
