"""The SDK prints nothing, whatever event loops and threads a program has: what gRPC would say is heard in a process of
its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.calls import wait_until_free
from tests.support.servers import StubOptions, stub_server
from tools.harness.stub_runner import StubRunner

ROOT = Path(__file__).parents[2]

PREAMBLE = """
import asyncio, sys, threading
import numpy as np
from antiphon.spec import CodecSpec
from antiphon.errors import UnavailableError
from antiphon_edge import blocking, connect
from antiphon_edge.client import stream
from antiphon_edge.transport import call, messages
from antiphon_edge.transport.channel import open_channel
from antiphon.v1 import dialogue_pb2 as pb

blocking.EXIT_S = call.LEAVE_S = messages.LEAVE_S = stream.LEAVE_S = 60.0  # however busy the machine, Close is taken
CODEC, CODES, address = CodecSpec(b"\\x07" * 32, 24_000, 1920, 8, 2048), np.arange(8, dtype=np.int32), sys.argv[1]

def script(turns=3):
    with blocking.connect(address, CODEC) as session:
        for _ in range(turns):
            session.exchange(CODES)
        session.send(CODES)

async def coroutine(turns=3):
    async with open_channel(address) as stub:
        await stub.GetModel(pb.GetModelRequest())
    async with connect(address, CODEC) as session:
        for _ in range(turns):
            await session.send(CODES)
            await session.receive()
        await session.send(CODES)

def together(work, threads=3):
    running = [threading.Thread(target=work) for _ in range(threads)]
    for each in running: each.start()
    for each in running: each.join()
"""
PROGRAMS = {
    "loops in many threads and one after another": """
for _ in range(3):
    together(script)
    together(lambda: asyncio.run(coroutine()))
    asyncio.run(coroutine())
    script()

for wrong in ("127.0.0.1:1", "[::1]:1"):
    right, address = address, wrong
    for work in (script, lambda: asyncio.run(coroutine())):
        try: work()
        except UnavailableError: pass
        else: raise SystemExit("somebody is there")
    address = right

async def cancelled(after_s):
    task = asyncio.create_task(coroutine(1000))
    await asyncio.sleep(after_s)
    task.cancel()
    await asyncio.wait((task,))

for turn in range(10):
    asyncio.run(cancelled(turn / 1000))
""",
    "exit amid a session": """
context = blocking.connect(address, CODEC)
context.__enter__().send(CODES)
""",
    "exit amid a coroutine": """
async def exits():
    async with connect(address, CODEC) as session:
        await session.send(CODES)
        sys.exit(0)

asyncio.run(exits())
""",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
async def test_a_program_prints_nothing_and_holds_no_slot(program: str) -> None:
    async with stub_server(StubOptions(StubRunner(8))) as server:
        path = os.pathsep.join(str(ROOT / folder) for folder in ("proto", "edge"))
        command = [sys.executable, "-W", "always", "-c", PREAMBLE + program, server.address]
        result = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, timeout=120
        )
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
        await asyncio.wait_for(wait_until_free(server), 60)
