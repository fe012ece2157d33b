"""Measures what a thousand calls leave in the page's process, without a debugger in it.

    python -m tools.bench.page_memory [--cuts 1000] [--seconds 300]

Headless Chromium opens the page, which presses its own button, and the connection is cut again and again, each time
once the session has gone on; with --cuts 0 never, for as long as --seconds says, to see what time alone does. A probe
in the page collects garbage, there and in the edge's worker (`--expose-gc`), and tells the size of the page's heap.
Prints, eleven times, how often the session has gone on, the page's heap, and the resident memory of the page's process
and of the gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import soundfile
from aiohttp import web

from antiphon_number_clerk import NUMBER_CLERK
from tools import ROOT
from tools.bench.page import RATE_HZ, descendants
from tools.codec.compare import speech
from tools.harness.browser import ARGUMENTS, CHROMIUM
from tools.harness.process_memory import memory_bytes
from tools.harness.relay import Relay, relay
from tools.harness.worker_process import GATEWAY, STUB, worker

PAGE = ROOT / "gateway/antiphon_gateway/page"
ROWS = 10
OPEN_S = 120.0
FLAGS = (
    "--headless",
    "--js-flags=--expose-gc",
    "--enable-precise-memory-info",
    "--autoplay-policy=no-user-gesture-required",
    "--no-first-run",
)
PROBE = """
    const report = "http://%s/";
    let resumed = 0;
    const RealWorker = Worker;
    window.Worker = class extends RealWorker {
        constructor(...how) {
            super(...how);
            this.addEventListener("message", ({data}) => {
                if (data.kind === "loaded") setTimeout(() => document.getElementById("talk").click());
                resumed += data.kind === "resumed";
            });
        }
    };
    setInterval(() => {
        gc();
        const told = {state: document.body.dataset.state, resumed, heap: performance.memory.usedJSHeapSize};
        fetch(report, {method: "POST", mode: "no-cors", body: JSON.stringify(told)});
    }, 250);
"""
COLLECT = "\nsetInterval(() => gc(), 1000);\n"


class Told:
    """What the page has told last."""

    def __init__(self) -> None:
        self.talks, self.goes_on = asyncio.Event(), asyncio.Event()
        self.resumed, self.heap_bytes = 0, 0

    async def take(self, request: web.Request) -> web.Response:
        """Takes a report."""
        told = json.loads(await request.text())
        if told["resumed"] != self.resumed:
            self.goes_on.set()
        self.resumed, self.heap_bytes = told["resumed"], told["heap"]
        if told.get("state") == "talking":
            self.talks.set()
        return web.Response()


@asynccontextmanager
async def listening(told: Told) -> AsyncIterator[str]:
    """HOST:PORT that takes reports, until the block ends."""
    app = web.Application()
    app.add_routes([web.post("/", told.take)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()


@contextmanager
def probed_page(report: str) -> Iterator[Path]:
    """A copy of the page that tells of itself."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page"
        shutil.copytree(PAGE, page)
        (page / "probe.js").write_text(PROBE % report)
        index = page / "index.html"
        index.write_text(index.read_text().replace("<script", '<script src="probe.js"></script><script', 1))
        (page / "edge.js").write_text((page / "edge.js").read_text() + COLLECT)
        yield page


@asynccontextmanager
async def chromium(url: str, microphone: Path, profile: str) -> AsyncIterator[None]:
    """The browser at a page, until the block ends."""
    sound = f"--use-file-for-fake-audio-capture={microphone}"
    command = [CHROMIUM, *ARGUMENTS, *FLAGS, sound, f"--user-data-dir={profile}", url]
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


def page_bytes() -> int:
    """The largest of the renderers' memories: the page's, and its worker's."""
    ours = (Path(f"/proc/{pid}") for pid in descendants(os.getpid()))
    pages = [path.name for path in ours if b"--type=renderer" in (path / "cmdline").read_bytes()]
    return max(memory_bytes(pid) for pid in pages)


async def measure(told: Told, network: Relay, gateway_pid: int, cuts: int, seconds: float) -> None:
    """Cuts so often, and prints the table."""
    await asyncio.wait_for(told.talks.wait(), OPEN_S)
    print(f"{'gone on':<10}{'heap MB':>10}{'page MB':>10}{'gateway MB':>12}", flush=True)
    for row in range(ROWS + 1):
        await asyncio.sleep(3.0)  # a report, and garbage
        values = told.heap_bytes, page_bytes(), memory_bytes(gateway_pid)
        print(
            f"{told.resumed:<10}" + "".join(f"{value / 1e6:>{10 + i}.1f}" for i, value in enumerate(values)), flush=True
        )
        if row == ROWS:
            return
        if not cuts:
            await asyncio.sleep(seconds / ROWS)
        for _ in range(cuts // ROWS):
            told.goes_on.clear()
            network.cut()
            await told.goes_on.wait()


async def run(asked: argparse.Namespace) -> None:
    """Starts all of it, and measures."""
    told = Told()
    async with listening(told) as report:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            wav = Path(folder) / "said.wav"
            soundfile.write(wav, speech(Path(folder) / "scratch.wav", 20 * RATE_HZ, RATE_HZ), RATE_HZ, subtype="PCM_16")
            page = stack.enter_context(probed_page(report))
            serving = stack.enter_context(worker("--codec", NUMBER_CLERK / "codec", program=STUB))
            options = ("--server", serving.address, "--cache", folder, "--static", page)
            many = ("--client-requests-per-minute", "1e6")
            gateway = stack.enter_context(worker(*options, *many, program=GATEWAY))
            async with relay(gateway.address) as network, chromium(f"http://{network.address}/", wav, folder):
                await measure(told, network, gateway.process.pid, asked.cuts, asked.seconds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=300.0, help="with --cuts 0")
    asyncio.run(run(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
