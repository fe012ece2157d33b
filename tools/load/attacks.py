"""Attacks by a malicious client, each under a name; `attack.py` runs this module in a process of its own.

    python -m tools.load.attacks NAME        # reads its `Target` as one line of JSON; ends at the end of its input

Prints "ready", waits for a line and attacks; at the end it prints what it did as JSON. It only attacks loopback
addresses. It uses the HTTP/2 client of `harness/http2`, because gRPC's library cannot misbehave like this.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from antiphon.history import RowLayout
from antiphon.spec import ModelSpec
from antiphon.tls import is_loopback
from antiphon.v1 import dialogue_pb2 as pb
from tools.harness.http2 import Connection, Metadata, connection, message

NICE = 5  # a real attacker is another machine: it must not take the worker's processor time
DIALOGUE = "/" + pb.DESCRIPTOR.services_by_name["DialogueService"].full_name
CONVERSE, GET_MODEL, GET_CODEC = f"{DIALOGUE}/Converse", f"{DIALOGUE}/GetModel", f"{DIALOGUE}/GetCodec"
WATCH = "/grpc.health.v1.Health/Watch"
SHUT = 0  # a window that never opens
STREAMS = 250  # per connection; a worker allows 256
TICK_S = 0.01
BURST_S = 0.1  # how much delay an attacker catches up with after the machine held it up
UNSENT_BYTES = 1 << 20  # beyond this, an attacker waits for the worker to read
RETRY_S = 0.1
HISTORY_STEPS = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """The target of an attack."""

    server: str  # HOST:PORT
    metrics: str  # HOST:PORT of the port for operators; may be unused
    described: str  # the worker's GetModelResponse in hexadecimal
    key: str | None = None  # the attacker's API key; None if the worker needs none
    source: str | None = None  # the attacker's local address; None for the system's choice

    @property
    def metadata(self) -> Metadata:
        """The metadata of calls that present the key."""
        return [("authorization", f"Bearer {self.key}")] if self.key else []

    @property
    def model(self) -> pb.GetModelResponse:
        """The codec and the model that the worker serves."""
        return pb.GetModelResponse.FromString(bytes.fromhex(self.described))

    def opening(self, history: pb.History | None = None, token: bytes = b"") -> bytes:
        """An Open message."""
        fingerprint = self.model.codec.fingerprint
        opening = pb.Open(codec_fingerprint=fingerprint, seed=1, history=history, resume_token=token)
        return pb.ConverseRequest(open=opening).SerializeToString()


Done = Counter[str]  # what an attacker has done so far
Begin = Callable[[Connection], int]


async def forever(target: Target, window: int | None, during: Callable[[Connection], Awaitable[None]]) -> None:
    """Runs `during` on a connection, and on a new one whenever that has ended."""
    while True:
        with suppress(OSError):
            async with connection(target.server, window, target.source) as opened:
                await during(opened)
        await asyncio.sleep(RETRY_S)


async def hold(
    target: Target, done: Done, begin: Begin, *, streams: int, window: int | None = None, again_s: float = 0.1
) -> None:
    """Keeps `streams` calls open; replaces those that have ended every `again_s`."""

    async def some(count: int, opened: Connection) -> None:
        under_way: set[int] = set()
        while not opened.closed.is_set():
            for stream in [each for each in under_way if opened.ended[each].is_set()]:
                under_way.remove(stream)
                opened.forget(stream)
            if opened.unsent < UNSENT_BYTES:
                for _ in range(count - len(under_way)):
                    under_way.add(begin(opened))
                    done["calls"] += 1
            await asyncio.sleep(again_s)

    async with asyncio.TaskGroup() as tasks:
        for first in range(0, streams, STREAMS):
            count = min(STREAMS, streams - first)
            tasks.create_task(forever(target, window, partial(some, count)))


async def flood(
    target: Target, done: Done, begin: Begin, *, a_second: float, connections: int, reset_after: int | None = None
) -> None:
    """Starts `a_second` calls per second.

    Args:
        target: the worker to call.
        done: counts the calls.
        begin: starts one call.
        a_second: calls per second, over all connections.
        connections: number of connections.
        reset_after: ticks after which a call is cancelled; 0 cancels it in the same packet, None lets it end.
    """

    async def some(opened: Connection) -> None:
        per_s, owed, before_s = a_second / connections, 0.0, time.perf_counter()
        begun: deque[list[int]] = deque()
        while not opened.closed.is_set():
            await asyncio.sleep(TICK_S)
            now_s = time.perf_counter()
            owed, before_s = min(owed + (now_s - before_s) * per_s, BURST_S * per_s), now_s
            if opened.unsent > UNSENT_BYTES:
                continue
            begun.append([begin(opened) for _ in range(int(owed))])
            done["calls"] += int(owed)
            owed -= int(owed)
            while len(begun) > (reset_after or 0):
                for stream in begun.popleft():
                    if reset_after is not None:
                        opened.reset(stream)
                    opened.forget(stream)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(forever(target, None, some))


async def none(target: Target, done: Done) -> None:
    """Does nothing."""
    await asyncio.Event().wait()


async def windowless(target: Target, done: Done) -> None:
    """Opens a session on each of four calls and reads no Opened."""
    opening = target.opening()
    await hold(
        target,
        done,
        lambda opened: opened.call(CONVERSE, opening, metadata=target.metadata, end=False),
        streams=4,
        window=SHUT,
    )


async def health(target: Target, done: Done) -> None:
    """Holds 4,000 health watches without a key and reads nothing."""
    await hold(target, done, lambda opened: opened.call(WATCH, b""), streams=4000, window=SHUT, again_s=1.0)


async def codec(target: Target, done: Done) -> None:
    """Holds 500 calls of GetCodec and reads only HTTP/2's first window of each."""
    await hold(
        target, done, lambda opened: opened.call(GET_CODEC, b"", metadata=target.metadata), streams=500, again_s=1.0
    )


async def idle(target: Target, done: Done) -> None:
    """Holds 1,100 connections that send nothing after the HTTP/2 preface."""

    async def nothing(opened: Connection) -> None:
        done["connections"] += 1
        await opened.closed.wait()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(1100):
            tasks.create_task(forever(target, None, nothing))


async def queries(target: Target, done: Done) -> None:
    """Calls GetModel on four connections, each again as soon as it has its answer."""

    async def ask(opened: Connection) -> None:
        while not opened.closed.is_set():
            stream = opened.call(GET_MODEL, b"", metadata=target.metadata)
            while await opened.read(stream) is not None:
                pass
            opened.forget(stream)
            done["calls"] += 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(forever(target, None, ask))


async def resets(target: Target, done: Done, *, after_ticks: int = 0, metadata: Metadata | None = None) -> None:
    """Opens 2,000 sessions a second with the attacker's key, and cancels each call at once."""
    opening, carried = target.opening(), target.metadata if metadata is None else metadata
    await flood(
        target,
        done,
        lambda opened: opened.call(CONVERSE, opening, metadata=carried, end=False),
        a_second=2000,
        connections=4,
        reset_after=after_ticks,
    )


async def late_resets(target: Target, done: Done) -> None:
    """Like `resets`, but cancels each call after 50 ms, when it may have a session."""
    await resets(target, done, after_ticks=5)


async def strange_resets(target: Target, done: Done) -> None:
    """Like `resets`, without a key."""
    await resets(target, done, metadata=())


async def strangers(target: Target, done: Done) -> None:
    """Calls GetModel 4,000 times a second without a key."""
    await flood(target, done, lambda opened: opened.call(GET_MODEL, b""), a_second=4000, connections=8)


async def unopened(target: Target, done: Done) -> None:
    """Holds 600 calls that send no Open."""
    await hold(target, done, lambda opened: opened.call(CONVERSE, metadata=target.metadata, end=False), streams=600)


async def rebuilds(target: Target, done: Done) -> None:
    """Resumes sessions with histories of 4,096 steps on eight connections; each closes and resumes again."""
    described = target.model
    model = ModelSpec.from_message(described.model)
    layout, random = RowLayout.of(model), np.random.default_rng(1)

    def row() -> bytes:
        user, codes = (
            packer.pack(random.integers(0, model.cardinality, count, np.int32))
            for packer, count in ((layout.user, model.user_codebooks), (layout.model, model.model_codebooks))
        )
        return layout.pack(user, int(random.integers(model.text_cardinality)), codes)

    rows = b"".join(row() for _ in range(HISTORY_STEPS))
    past = pb.History(steps=HISTORY_STEPS, rows=rows, model=model.name, model_fingerprint=model.fingerprint)
    opening = message(target.opening(past))
    close = message(pb.ConverseRequest(close=pb.Close()).SerializeToString())

    async def rebuild(opened: Connection) -> None:
        while not opened.closed.is_set():
            stream = opened.call(CONVERSE, metadata=target.metadata, end=False)
            done["calls"] += 1
            await opened.upload(stream, opening)
            if await opened.read(stream) is None:  # refused
                await asyncio.sleep(RETRY_S)
            else:
                done["rebuilt"] += 1
                opened.send(stream, close, end=True)
                await opened.read(stream)
            opened.forget(stream)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(forever(target, None, rebuild))


async def trickle(target: Target, done: Done) -> None:
    """Sends a byte every 2 s on each of 300 connections to the port for operators."""
    host, _, port = target.metrics.rpartition(":")
    request = b"GET /metrics HTTP/1.1\r\nHost: worker\r\n" + b"X-Slow: 1\r\n" * 100

    async def one() -> None:
        while True:
            with suppress(OSError):
                source = (target.source, 0) if target.source else None
                _, writer = await asyncio.open_connection(host, int(port), local_addr=source)
                done["connections"] += 1
                try:
                    for byte in request:
                        writer.write(bytes([byte]))
                        await writer.drain()
                        await asyncio.sleep(2.0)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(RETRY_S)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(300):
            tasks.create_task(one())


async def owners(target: Target, done: Done) -> None:
    """Two clients with one resume token take the session from each other as soon as they lose it."""
    described = target.model.model
    past = pb.History(model=described.name, model_fingerprint=described.fingerprint)  # no step yet
    token = b""
    there = asyncio.Event()

    async def own(opened: Connection) -> None:
        nonlocal token
        while not opened.closed.is_set():
            stream = opened.call(CONVERSE, target.opening(past, token), metadata=target.metadata, end=False)
            done["calls"] += 1
            if (answer := await opened.read(stream)) is None:  # refused
                await asyncio.sleep(TICK_S)
            else:
                done["taken"] += 1
                token = pb.ConverseResponse.FromString(answer).opened.resume_token
                there.set()
                while await opened.read(stream) is not None:  # until the other client takes it
                    pass
            opened.forget(stream)

    async def second() -> None:
        await there.wait()
        await forever(target, None, own)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(forever(target, None, own))
        tasks.create_task(second())


async def watch(target: Target, done: Done) -> None:
    """Holds one health watch without a key and reads nothing."""
    await hold(target, done, lambda opened: opened.call(WATCH, b""), streams=1, window=SHUT)


Attack = Callable[[Target, Done], Coroutine[Any, Any, None]]
NONE = "none"
ATTACKS: dict[str, Attack] = {
    NONE: none,
    "windowless": windowless,
    "health": health,
    "codec": codec,
    "idle": idle,
    "queries": queries,
    "resets": resets,
    "late-resets": late_resets,
    "strange-resets": strange_resets,
    "strangers": strangers,
    "unopened": unopened,
    "rebuilds": rebuilds,
    "trickle": trickle,
    "owners": owners,
    "watch": watch,
}


async def attack(name: str, target: Target, done: Done) -> None:
    """Attacks until standard input ends, which it also does if the parent process dies."""
    attacking = asyncio.ensure_future(ATTACKS[name](target, done))
    ending = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait((attacking, ending), return_when=asyncio.FIRST_COMPLETED)
    if attacking.done():
        attacking.result()
    attacking.cancel()
    await asyncio.gather(attacking, return_exceptions=True)


def main() -> None:
    """Runs the named attack."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C also reaches the parent, which then closes the input
    os.nice(NICE)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 8192, hard))
    name, target = sys.argv[1], Target(**json.loads(sys.stdin.readline()))
    assert all(is_loopback(address) for address in (target.server, target.metrics)), "only this machine is attacked"
    print("ready", flush=True)
    sys.stdin.readline()
    done: Done = Counter()
    asyncio.run(attack(name, target, done))
    print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
