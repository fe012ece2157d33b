"""Workers whose models are given words to say: random ones, so small that a step takes a millisecond."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from antiphon.spec import Limits, Sampling
from antiphon_cloud.codec.folder import CodecFolder
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.runner.prefill import history_steps
from antiphon_cloud.runner.runner import ModelRunner
from antiphon_cloud.server.process import Server, ServerConfig
from antiphon_cloud.server.worker import ServedModel
from antiphon_cloud.sessions.script.script import ScriptRules
from tests.support.language_models import MICRO, micro_runner
from tests.support.servers import CODEC
from tools.harness.stepper_thread import StepperThread
from tools.harness.stub_runner import SPEC as STUB

SOUND_DELAY = 4
SAY_BYTES = 8192
BABBLE = Sampling(100.0, 20, 0.8, 12)  # every token is as likely as the next: words begin when they will
LISTENER = replace(STUB, model_codebooks=0, model_type="stt", delay_steps=0)
READER = replace(MICRO, n_q=3, delays=(0, 0, 1, 2))  # all of its codebooks are its own


def encode(word: str) -> list[int]:
    """A token for each two letters, of those that a random model of 20 text tokens has."""
    return [4 + sum(map(ord, word[at : at + 2])) % 16 for at in range(0, len(word), 2)]


def rules(config: LMConfig = READER) -> ScriptRules:
    return ScriptRules(encode, code_delays=config.delays[1 : 1 + config.dep_q])


def reader(slots: int = 2) -> ModelRunner:
    """A model that only speaks."""
    runner = micro_runner(slots, READER)
    runner.spec = replace(
        runner.spec, model_type="tts", sound_delay_steps=SOUND_DELAY, speakers=2, fingerprint=b"\x0a" * 32
    )
    return runner


def talker(slots: int = 2) -> ModelRunner:
    """A model that listens and speaks."""
    runner = micro_runner(slots)
    runner.spec = replace(runner.spec, fingerprint=b"\x0b" * 32)
    return runner


@asynccontextmanager
async def speaking(runner: ModelRunner, keep_slot_ms: int = 0) -> AsyncIterator[str]:
    """The address of a worker, until the block ends."""
    server = Server(ServerConfig(listen="127.0.0.1:0"))
    address = await server.bind()
    engine = Engine(StepperThread(runner))
    limits = Limits(
        runner.slots,
        max_frames_in_flight=8,
        keep_slot_ms=keep_slot_ms,
        history_steps=history_steps(runner.config),
        say_bytes=SAY_BYTES,
    )
    served = ServedModel(
        engine, CodecFolder(CODEC, ()), lambda token: f"<{token}>".encode(), limits, rules=rules(runner.config)
    )
    await server.serve(served)
    try:
        yield address
    finally:
        await server.stop()
