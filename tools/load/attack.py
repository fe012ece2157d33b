"""What each attack of a list costs a session beside it, on a real worker, as a table.

    python -m tools.load.attack [--only NAME ...] [--no-keys] [--seconds 10]

Each attack (`attacks.py`, in a process of its own, nice 5) meets a worker of its own: `antiphon-cloud serve` with the
packaged model, one thread and a drain of 2 s. Beside it a victim sends a frame every 80 ms; what a frame took counts
from the moment when it was due, so that a victim that is held up hides nothing. A newcomer comes every second, opens a
session and wants one reply. Then the worker is asked to end, while the attack goes on. Victim, attacker and newcomers
have a key each; with --no-keys the attacker comes from another address (127.0.0.2, as Linux has it).

The column "others" says how many processors were busy with what the tool did not start. A row that misses where others
are at work is worth repeating alone.
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
from antiphon.spec import ModelSpec
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.server.access.api_keys import make_key
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
VICTIM_TIMEOUT_S = 30.0  # beyond the time of its frames
END_TIMEOUT_S = 30.0
P99_MAY_MOVE_MS, LATE_MS = 20.0, FRAME_MS
COLUMNS = (
    *("attack", "p50 ms", "p99 ms", "worst ms", "late", "tokens", "newcomers", "SIGTERM s"),
    *("log lines", "others", "what the attacker did"),
)


@dataclass(slots=True)
class Victim:
    """What became of the session beside the attack."""

    took_ms: list[float] = field(default_factory=list)  # of each frame, from when it was due to its reply
    tokens: str = ""  # a digest of all of them
    error: str | None = None


@dataclass(slots=True)
class Row:
    """What one attack did."""

    name: str
    victim: Victim
    same: bool
    newcomers: Counter[str]  # by what became of them; "" was admitted
    end_s: float | None  # None: the worker had to be killed
    logged: int  # lines of the worker's log
    others: float  # processors that were busy with what this tool did not start
    done: dict[str, int]  # by the attacker

    def percentile_ms(self, percent: float) -> float:
        """Of the victim's frames."""
        return float(np.percentile(self.victim.took_ms or [np.nan], percent))

    @property
    def late(self) -> int:
        """Frames of the victim that were answered later than the next one was due."""
        return sum(took_ms > LATE_MS for took_ms in self.victim.took_ms)

    def cells(self) -> list[str]:
        """One a column."""
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
        """Where it fell short, and why newcomers were not let in.

        Args:
            alone: the row without an attack, where there is one.
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
    """Of a worker: the file, and each client's own; None where everyone is let in."""

    file: Path | None = None
    victim: str | None = None
    attacker: str | None = None
    newcomer: str | None = None

    @classmethod
    def make(cls, file: Path, sessions: int | None = None) -> Keys:
        """Three keys, each of which may have so many sessions at once; None is what the worker gives everyone."""
        return cls(file, *(make_key(file, name, sessions) for name in ("victim", "attacker", "newcomer")))


def presenting(key: str | None) -> Credentials:
    """What a client with `key` shows."""
    return Credentials(api_key=key) if key else PLAINTEXT


async def talk(
    stub: Any, served: pb.GetModelResponse, frames: int, every_s: float, begin: Callable[[], None] = lambda: None
) -> Victim:
    """A session of so many random frames, one every `every_s` whatever comes back; `begin` is called as it opens."""
    outcome, model = Victim(), ModelSpec.from_message(served.model)
    codes = np.random.default_rng(SEED).integers(0, model.cardinality, (frames, model.user_codebooks), np.int32)
    packed, digest = [model.user_packer.pack(frame) for frame in codes], hashlib.sha256()
    call = stub.Converse()

    async def say(begin_s: float) -> None:
        for index, frame in enumerate(packed):
            if (wait_s := begin_s + index * every_s - time.perf_counter()) > 0:
                await asyncio.sleep(wait_s)
            with suppress(asyncio.InvalidStateError):  # the call has ended: who hears says why
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
    """The first error of a group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def come(address: str, key: str | None, fingerprint: bytes, frame: bytes) -> str:
    """A newcomer who wants one reply: empty where it got it, else why not."""
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
    """What became of newcomers, who wait for nobody."""
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
        name: of the attack.
        target: whom it is aimed at.
    """

    def __init__(self, name: str, target: Target) -> None:
        command = [sys.executable, "-m", "tools.load.attacks", name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._say(json.dumps(asdict(target)))
        if self._hear() != "ready":
            self.end()

    def begin(self) -> None:
        """Lets it attack."""
        self._say("go")

    def end(self) -> dict[str, int]:
        """Ends it, and says what it did.

        Raises:
            SystemExit: it has failed, and said on its standard error why.
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
    """A victim and newcomers, beside what `begin` begins."""
    async with open_channel(started.address, presenting(keys.victim)) as stub:
        frames = max(1, round(seconds / FRAME_S))
        newcomers = asyncio.create_task(come_every_second(started.address, keys.newcomer, served, seconds))
        return await talk(stub, served, frames, FRAME_S, begin), await newcomers


async def undisturbed(started: Worker, keys: Keys, seconds: float) -> tuple[pb.GetModelResponse, Victim]:
    """What is served, and the same session with nobody else there, as fast as it goes."""
    async with open_channel(started.address, presenting(keys.victim)) as stub:
        served: pb.GetModelResponse = await stub.GetModel(pb.GetModelRequest())
        return served, await talk(stub, served, max(1, round(seconds / FRAME_S)), 0.0)


def end(started: Worker) -> float | None:
    """How long the worker takes to end when it is asked to; None where it had to be killed."""
    asked_s = time.perf_counter()
    started.drain()
    try:
        started.process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        started.kill()
        return None
    return time.perf_counter() - asked_s


def busy_s() -> tuple[float, float]:
    """Processor time that everybody has taken since the machine started, and that this process and those which it
    started and which have ended took of it."""
    ticks = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
    user, nice, system, _, _, *interrupts = ticks
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own_s = sum(usage.ru_utime + usage.ru_stime for usage in own)
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK"), own_s


def run(name: str, keys: Keys, seconds: float) -> Row:
    """One attack on a worker of its own."""
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
    """A line of a table in markdown."""
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the attacks and prints a row for each, then where they miss what is promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = tuple(ATTACKS)
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--no-keys", action="store_true", help="the worker lets everyone in")
    parser.add_argument("--sessions", type=int, metavar="N", help="that each key may have at once (default: all slots)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each victim (default: %(default)s)")
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
