"""Measures the gateway's page in headless Chromium: its codec, its first talk, and what is left of a thousand calls.

    python -m tools.bench.page [--codec DIR] [--frames 200] [--reconnects 1000]

The worker behind the gateway has a stub model whose step takes no time, and the codec in DIR (default: the number
clerk's). Prints the time from opening the page to the session, with nothing in the browser's cache; percentiles of a
frame's encoding and decoding, one frame at a time, and the processor's time that both take, which a busy machine hardly
lengthens; and the memory of the page's process and of the gateway while its connection is cut again and again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import soundfile

from antiphon_number_clerk import NUMBER_CLERK
from tools.codec.compare import processor, speech
from tools.harness.browser import Visit, browser, visit
from tools.harness.process_memory import memory_bytes
from tools.harness.relay import Relay, relay
from tools.harness.worker_process import GATEWAY, STUB, Worker, worker

RATE_HZ, FRAME_SAMPLES = 24_000, 1920
WARM_UP = 20  # frames
COUNT = """
    window.told = {statuses: 0, resumed: 0};
    const RealWorker = Worker;
    window.Worker = class extends RealWorker {
        constructor(...how) {
            super(...how);
            this.addEventListener("message", ({data}) => {
                told.statuses += data.kind === "status";
                told.resumed += data.kind === "resumed";
            });
        }
    };
"""
"""Counts what the edge's worker tells the page."""
OPEN = """
    async () => {
        const worker = new Worker("edge.js", {type: "module"});
        const until = (kind) => new Promise((resolve) => {
            worker.onmessage = ({data}) => data.kind === kind && resolve(data);
        });
        const root = new URL("v1/", location.href).href;
        const loaded = until("loaded");
        worker.postMessage({kind: "load", root, path: "", key: "", listens: false});
        await loaded;
        const [up, down] = [new MessageChannel(), new MessageChannel()];
        const talk = {kind: "talk", microphone: up.port1, speaker: down.port1, rateHz: 24000, muted: false};
        const connected = until("connected");
        worker.postMessage({...talk, choices: {voice: "", persona: ""}}, [up.port1, down.port1]);
        await connected;
        window.step = async (samples, answered) => {
            const heard = new Promise((resolve) => (down.port2.onmessage = resolve));
            const told = until("status");
            up.port2.postMessage(Float32Array.from({length: samples}, () => 0.2 * Math.random() - 0.1));
            const {status} = await told;
            await Promise.race([heard, new Promise((resolve) => setTimeout(resolve, answered ? 5000 : 50))]);
            return [status.encodeMs, status.decodeMs];
        };
    }
"""
"""A second edge's worker, in a conversation without sound: `step` takes a frame and returns once its reply is heard."""
STEP = """
    async ([frames, samples]) => {
        const times = [];
        for (let frame = 0; frame < frames; frame++) times.push(await step(samples, true));
        return times;
    }
"""


@contextmanager
def relayed(target: str) -> Iterator[tuple[Relay, asyncio.AbstractEventLoop]]:
    """A relay in a thread of its own, with its loop: Playwright has the one of this thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    manager = relay(target)
    try:
        yield asyncio.run_coroutine_threadsafe(manager.__aenter__(), loop).result(), loop
    finally:
        asyncio.run_coroutine_threadsafe(manager.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def first_talk(visiting: Visit, began_s: float) -> None:
    """Prints how long it took."""
    visiting.reaches("idle")
    ready_s = time.perf_counter() - began_s
    visiting.talk()
    print(f"ready {ready_s:.2f} s after opening, talking after {time.perf_counter() - began_s:.2f} s")


def codec(visiting: Visit, frames: int) -> None:
    """Prints the times of so many frames, and what they took of a processor."""
    visiting.page.evaluate(OPEN)
    visiting.page.evaluate("step(1920, false)")  # the first frame has no reply
    visiting.page.evaluate(STEP, [WARM_UP, FRAME_SAMPLES])
    before_s = _worker_s()
    table = np.array(visiting.page.evaluate(STEP, [frames, FRAME_SAMPLES]))  # [T, 2]: encode, decode
    spent_ms = 1e3 * (_worker_s() - before_s)
    print(f"{'ms a frame':<12}{'p5':>9}{'p50':>9}{'p95':>9}")
    for name, times in (("encode", table[:, 0]), ("decode", table[:, 1]), ("both", table.sum(1))):
        print(f"{name:<12}" + "".join(f"{value:>9.1f}" for value in np.percentile(times, (5, 50, 95))))
    print(f"{spent_ms / frames:.1f} ms of a processor a frame, both ways")


def reconnects(visiting: Visit, network: Relay, loop: asyncio.AbstractEventLoop, times: int, gateway: Worker) -> None:
    """Cuts the connection so often, each time once the session has gone on; prints the memory ten times."""
    pressure = visiting.page.context.new_cdp_session(visiting.page)
    print(f"{'reconnects':<12}{'page MB':>12}{'gateway MB':>12}")
    for done in range(times + 1):
        if done % max(1, times // 10) == 0:
            pressure.send("Memory.simulatePressureNotification", {"level": "critical"})  # collects garbage
            pids = int(_renderer().name), gateway.process.pid
            print(f"{done:<12}" + "".join(f"{memory_bytes(pid) / 1e6:>12.0f}" for pid in pids))
        resumed = visiting.page.evaluate("told.statuses = 0, told.resumed")
        while not visiting.page.evaluate("told.statuses"):
            visiting.page.wait_for_timeout(5)
        if done < times:
            loop.call_soon_threadsafe(network.cut)
            while visiting.page.evaluate("told.resumed") == resumed:
                visiting.page.wait_for_timeout(5)


def _renderer() -> Path:
    """The folder in /proc of the largest of our browser's pages, whose process has the page and its workers."""
    ours = (Path(f"/proc/{pid}") for pid in descendants(os.getpid()))
    pages = [path for path in ours if b"--type=renderer" in (path / "cmdline").read_bytes()]
    return max(pages, key=lambda path: memory_bytes(int(path.name)))


def descendants(pid: int) -> Iterator[int]:
    """The processes that a process has begun, and those that they have."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            yield child
            yield from descendants(child)


def _worker_s() -> float:
    """Seconds of a processor that the edges' workers, threads of that process, have had."""
    tasks = _renderer().glob("task/*")
    workers = [task for task in tasks if (task / "comm").read_text().startswith("DedicatedWorker")]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in workers) / 1e9


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", type=Path, default=NUMBER_CLERK / "codec")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--reconnects", type=int, default=1000)
    asked = parser.parse_args(arguments)
    print(f"{processor()}; codec {asked.codec}")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        wav = Path(folder) / "said.wav"
        soundfile.write(wav, speech(Path(folder) / "scratch.wav", 20 * RATE_HZ, RATE_HZ), RATE_HZ, subtype="PCM_16")
        serving = stack.enter_context(worker("--codec", asked.codec, program=STUB))
        many = ("--client-requests-per-minute", "1e6")
        gateway = stack.enter_context(worker("--server", serving.address, "--cache", folder, *many, program=GATEWAY))
        network, loop = stack.enter_context(relayed(gateway.address))
        chromium = stack.enter_context(browser(wav))
        began_s = time.perf_counter()
        visiting = stack.enter_context(visit(chromium, network.address, script=COUNT))
        first_talk(visiting, began_s)
        visiting.page.keyboard.press("Escape")
        codec(visiting, asked.frames)
        if asked.reconnects:
            visiting.talk()
            reconnects(visiting, network, loop, asked.reconnects, gateway)


if __name__ == "__main__":
    main()
