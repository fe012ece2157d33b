"""Measures the gateway's page in headless Chromium: its codec, its first talk, and what is left of a thousand calls.

    python -m tools.bench.page [--codec DIR] [--seconds 20] [--reconnects 1000]

The worker behind the gateway has a stub model whose step takes no time, and the codec in DIR (default: the number
clerk's). Prints the time from opening the page to the session, with nothing in the browser's cache; percentiles of a
frame's encoding and decoding, and the processor's time that both take, which a busy machine does not lengthen; and the
memory of the page's process and of the gateway while its connection is cut again and again.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import soundfile

from antiphon_cloud.models import NUMBER_CLERK
from tools.codec.compare import processor, speech
from tools.harness.browser import Visit, browser, visit
from tools.harness.process_memory import memory_bytes
from tools.harness.relay import Relay, relay
from tools.harness.worker_process import GATEWAY, STUB, Worker, worker

RATE_HZ = 24_000
RECORD = """
    window.told = {statuses: [], resumed: 0};
    const RealWorker = Worker;
    window.Worker = class extends RealWorker {
        constructor(...how) {
            super(...how);
            this.addEventListener("message", ({data}) => {
                if (data.kind === "status") {
                    const {encodeMs, decodeMs, framesUp, framesDown} = data.status;
                    told.statuses.push([encodeMs, decodeMs, framesUp, framesDown]);
                }
                if (data.kind === "resumed") told.resumed += 1;
            });
        }
    };
"""
"""Keeps what the edge's worker tells the page."""


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


def codec(visiting: Visit, seconds: float) -> None:
    """Prints the times of the frames of so many seconds, and what they took of a processor."""
    visiting.page.evaluate("void (told.statuses.length = 0)")
    before_s = _worker_s()
    visiting.page.wait_for_timeout(1e3 * seconds)
    table = np.array(visiting.page.evaluate("told.statuses"))  # [T, 4]: encode, decode, frames up, frames down
    spent_ms = 1e3 * (_worker_s() - before_s)
    up, down = table[-1, 2:] - table[0, 2:]
    decoded = np.diff(table[:, 3], prepend=table[0, 3]) > 0  # the others were skipped as late
    print(f"{'ms a frame':<12}{'p5':>9}{'p50':>9}{'p95':>9}")
    for name, times in (("encode", table[:, 0]), ("decode", table[decoded, 1])):
        print(f"{name:<12}" + "".join(f"{value:>9.1f}" for value in np.percentile(times, (5, 50, 95))))
    print(f"{spent_ms / up:.1f} ms of a processor for each of {up:.0f} frames up, with {down:.0f} down")


def reconnects(visiting: Visit, network: Relay, loop: asyncio.AbstractEventLoop, times: int, gateway: Worker) -> None:
    """Cuts the connection so often, each time once the session has gone on; prints the memory ten times."""
    print(f"{'reconnects':<12}{'page MB':>12}{'gateway MB':>12}")
    for done in range(times + 1):
        if done % max(1, times // 10) == 0:
            pids = int(_renderer().name), gateway.process.pid
            print(f"{done:<12}" + "".join(f"{memory_bytes(pid) / 1e6:>12.0f}" for pid in pids))
        resumed = visiting.page.evaluate("told.statuses.length = 0, told.resumed")
        while not visiting.page.evaluate("told.statuses.length"):
            visiting.page.wait_for_timeout(5)
        if done < times:
            loop.call_soon_threadsafe(network.cut)
            while visiting.page.evaluate("told.resumed") == resumed:
                visiting.page.wait_for_timeout(5)


def _renderer() -> Path:
    """The folder in /proc of the largest page's process, which has both the page and the edge's worker."""
    cmdlines = Path("/proc").glob("[0-9]*/cmdline")
    renderers = [path.parent for path in cmdlines if b"--type=renderer" in path.read_bytes()]
    return max(renderers, key=lambda folder: memory_bytes(int(folder.name)))


def _worker_s() -> float:
    """Seconds of a processor that the edge's worker, a thread of that process, has had."""
    tasks = _renderer().glob("task/*")
    workers = [task for task in tasks if (task / "comm").read_text().startswith("DedicatedWorker")]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in workers) / 1e9


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", type=Path, default=NUMBER_CLERK / "codec")
    parser.add_argument("--seconds", type=float, default=20.0)
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
        visiting = stack.enter_context(visit(chromium, network.address, script=RECORD))
        first_talk(visiting, began_s)
        codec(visiting, asked.seconds)
        if asked.reconnects:
            reconnects(visiting, network, loop, asked.reconnects, gateway)


if __name__ == "__main__":
    main()
