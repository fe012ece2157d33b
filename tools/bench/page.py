"""Measures the gateway's page in headless Chromium: its codec, its first talk, and what is left of a thousand calls.

    python -m tools.bench.page [--codec DIR] [--seconds 20] [--reconnects 1000]

The worker behind the gateway has a stub model whose step takes no time, and the codec in DIR (default: the number
clerk's). Prints the time from opening the page to the session, with nothing in the browser's cache; percentiles of a
frame's encoding and decoding; and the memory of the page's process and of the gateway while its connection is cut
again and again.
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
                if (data.kind === "status") told.statuses.push([data.status.encodeMs, data.status.decodeMs]);
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
    """Prints the times of the frames of so many seconds."""
    visiting.page.wait_for_timeout(1e3 * seconds)
    table = np.array(visiting.page.evaluate("told.statuses"))  # [T, 2]: encode, decode
    print(f"{'ms a frame':<12}{'p50':>9}{'p95':>9}{'p99':>9}   ({len(table)} frames)")
    for name, times in (("encode", table[:, 0]), ("decode", table[:, 1]), ("both", table.sum(1))):
        print(f"{name:<12}" + "".join(f"{value:>9.1f}" for value in np.percentile(times, (50, 95, 99))))


def reconnects(visiting: Visit, network: Relay, loop: asyncio.AbstractEventLoop, times: int, gateway: Worker) -> None:
    """Cuts the connection so often, each time once the session has gone on; prints the memory ten times."""
    print(f"{'reconnects':<12}{'page MB':>9}{'gateway MB':>12}")
    for done in range(times + 1):
        if done % max(1, times // 10) == 0:
            print(f"{done:<12}{_page_mb():>9.0f}{memory_bytes(gateway.process.pid) / 1e6:>12.0f}")
        frames = visiting.page.evaluate("told.statuses.length = 0, told.resumed")
        while not visiting.page.evaluate("told.statuses.length"):
            visiting.page.wait_for_timeout(5)
        if done < times:
            loop.call_soon_threadsafe(network.cut)
            while visiting.page.evaluate("told.resumed") == frames:
                visiting.page.wait_for_timeout(5)


def _page_mb() -> float:
    """Memory of the browser's largest page, whose process has both the page and the edge's worker."""
    renderers = (
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"--type=renderer" in path.read_bytes()
    )
    return max(memory_bytes(pid) for pid in renderers) / 1e6


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
