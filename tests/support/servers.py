"""A worker with a stub model behind a real loopback socket."""

from __future__ import annotations

import hashlib
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from antiphon.spec import CodecSpec, Limits
from antiphon_cloud.codec.folder import CodecFile, CodecFolder
from antiphon_cloud.engine.adapters import AdapterAccount
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.engine.forecast import StepForecast
from antiphon_cloud.server.process import Server, ServerConfig
from antiphon_cloud.server.worker import ServedModel
from antiphon_cloud.sessions.script.script import ScriptRules
from antiphon_cloud.timing import STEP_BUDGET_MS
from tools.harness.stepper_thread import StepperThread
from tools.harness.stub_runner import StubRunner

DRAIN_S = 80.0
CODEC = CodecSpec(b"\x07" * 32, 24_000, 1920, 8, 2048)


@dataclass
class StubServer:
    address: str
    server: Server
    runner: StubRunner
    limits: Limits
    stepper: StepperThread


@dataclass
class StubOptions:
    runner: StubRunner = field(default_factory=StubRunner)
    idle_timeout_ms: int = 3_600_000
    keep_slot_ms: int = 3_600_000
    max_frames_in_flight: int = 8
    config: ServerConfig = field(default_factory=lambda: ServerConfig(listen="127.0.0.1:0", drain_s=DRAIN_S))
    codec_files: tuple[CodecFile, ...] = ()
    adapters: AdapterAccount | None = None
    profile: Mapping[int, float] | None = None  # of the steps; None lets every free slot be taken
    rules: ScriptRules | None = None
    say_bytes: int = 0
    history_steps: int = 0


@asynccontextmanager
async def stub_server(options: StubOptions | None = None) -> AsyncIterator[StubServer]:
    """Serves until the block ends; every call and the engine's thread end with it."""
    options = options or StubOptions()
    server = Server(options.config)
    address = await server.bind()
    limits = Limits(
        options.runner.slots,
        max_frames_in_flight=options.max_frames_in_flight,
        idle_timeout_ms=options.idle_timeout_ms,
        keep_slot_ms=options.keep_slot_ms,
        say_bytes=options.say_bytes,
        history_steps=options.history_steps,
    )
    stepper = StepperThread(options.runner)
    engine, codec = (
        Engine(stepper, StepForecast(options.profile), server.worker.metrics, adapters=options.adapters),
        CodecFolder(CODEC, options.codec_files),
    )
    budget_ms = math.inf if options.profile is None else STEP_BUDGET_MS
    piece_of = lambda token: f"<{token}>".encode()  # noqa: E731
    await server.serve(ServedModel(engine, codec, piece_of, limits, budget_ms, rules=options.rules))
    try:
        yield StubServer(address, server, options.runner, limits, stepper)
    finally:
        options.runner.gate.set()
        await server.stop()


def codec_files(folder: Path) -> tuple[CodecFile, ...]:
    """Whatever lies in `folder`, as a worker would hand it out."""
    paths = sorted(folder.iterdir())
    return tuple(CodecFile(path, path.stat().st_size, hashlib.sha256(path.read_bytes()).digest()) for path in paths)
