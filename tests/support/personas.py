"""A worker that serves the golden PersonaPlex over gRPC, stepped in a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
import torch

from antiphon.codes import Codes
from antiphon.spec import CodecSpec, Limits
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.tokenizer import Tokenizer
from antiphon_cloud.codec.folder import CodecFolder
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.runner.runner import ModelRunner
from antiphon_cloud.server.process import Server, ServerConfig
from antiphon_cloud.server.worker import ServedModel
from antiphon_cloud.serving.load import SAY_BYTES
from antiphon_cloud.serving.prompts import facts_of
from antiphon_cloud.sessions.prompts.families import strategy
from antiphon_cloud.sessions.script.script import ScriptRules
from tests.support.language_models import GOLDEN, expected
from tools.harness.stepper_thread import StepperThread

DIRECTORY = ModelDirectory.open(GOLDEN / "personaplex-tiny")
EXPECTED = expected("personaplex-tiny")
TEXT = "hello moshi listens and speaks"
CODEC = CodecSpec(b"\x07" * 32, 24_000, 1920, 8, 2048)


@dataclass
class Worker:
    """Where it is, and what steps there."""

    address: str
    runner: ModelRunner
    server: Server


def load_runner(slots: int = 2, cache_bytes: int = 1 << 20, **options: object) -> ModelRunner:
    """The golden model at float32."""
    return ModelRunner.load(DIRECTORY, slots, torch.float32, "cpu", prompt_cache_bytes=cache_bytes, **options)  # type: ignore[arg-type]


@asynccontextmanager
async def personaplex(runner: ModelRunner, history_steps: int = 1000) -> AsyncIterator[Worker]:
    """Serves until the block ends."""
    server = Server(ServerConfig(listen="127.0.0.1:0", drain_s=0.0))
    address = await server.bind()
    facts = [facts_of(voice) for voice in runner.voices.values()]
    served = ServedModel(
        Engine(StepperThread(runner), metrics=server.worker.metrics),
        CodecFolder(CODEC, ()),
        (tokenizer := Tokenizer(DIRECTORY.tokenizer)).piece,
        Limits(runner.slots, history_steps=history_steps, say_bytes=SAY_BYTES),
        prompts=strategy(runner.spec, tokenizer.encode, facts),
        voices=tuple(voice.name for voice in facts),
        rules=ScriptRules(tokenizer.encode, code_delays=runner.config.delays[1 : 1 + runner.config.dep_q]),
    )
    await server.serve(served)
    try:
        yield Worker(address, runner, server)
    finally:
        await server.stop()


def user_codes() -> Codes:
    """What the golden person says, [90, 8]."""
    return EXPECTED["user_codes"].astype(np.int32)
