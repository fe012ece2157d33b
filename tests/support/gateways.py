"""A gateway in this process, what its clients say, and what they should hear."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from antiphon_edge.audio.pcm import Pcm
from antiphon_gateway.server.config import GatewayConfig, Workers
from antiphon_gateway.server.process import Server
from tools.clerk.recognizer import DigitRecognizer
from tools.clerk.scenes import turn_of
from tools.clerk.train.data.clips import DIGITS, Word
from tools.clerk.train.data.examples import PERIOD_S, TEST
from tools.harness.worker_process import GATEWAY, Worker, start

RATE_HZ = 24_000
LONGEST_DIGIT_S = 0.72


@dataclass(frozen=True)
class Utterance:
    """What one of the clerk's test people says, with the silence around it in which the clerk greets and answers."""

    digits: tuple[str, ...]
    start_s: float
    samples: Pcm

    @property
    def answer(self) -> str:
        """The clerk's, in text."""
        return " ".join(("you said", *self.digits))


@cache
def utterances() -> list[Utterance]:
    """The twenty, of voices that training never heard."""
    samples, _ = soundfile.read(TEST.with_suffix(".flac"), dtype="float32")
    length = int(PERIOD_S * RATE_HZ) // 1920 * 1920
    said = json.loads(TEST.with_suffix(".json").read_text())
    turns = [
        turn_of([Word(text, start_s, end_s) for start_s, end_s, text in words], i * length / RATE_HZ)
        for i, words in enumerate(said)
    ]
    return [
        Utterance(turn.digits, turn.start_s, samples[i * length : (i + 1) * length]) for i, turn in enumerate(turns)
    ]


@asynccontextmanager
async def gateway(addresses: Sequence[str], **config: Any) -> AsyncIterator[Server]:
    """A gateway before workers that answer, until the block ends."""
    fields: dict[str, Any] = {
        "workers": Workers(tuple(addresses)),
        "listen": "127.0.0.1:0",
        "codec_threads": 2,
    } | config
    async with Server(GatewayConfig(**fields)) as server:
        await server.find_workers()
        yield server


@contextmanager
def served_gateway(workers: str, *arguments: str | Path) -> Iterator[Worker]:
    """`antiphon-gateway serve` in a process of its own, until the block ends; standard error has refusals alone."""
    with tempfile.TemporaryFile("w+") as said:
        started = start("--server", workers, *arguments, program=GATEWAY, stderr=said)
        try:
            yield started
        finally:
            started.end()
        said.seek(0)
        assert [line for line in said if "call refused" not in line] == []


class Listener:
    """What a client hears and reads: sound, and words with the place in the sound where each came."""

    def __init__(self) -> None:
        self._blocks: list[Pcm] = []
        self._samples = 0
        self.words: list[tuple[float, str]] = []
        self.text = ""

    @property
    def heard_s(self) -> float:
        """Seconds of sound so far."""
        return self._samples / RATE_HZ

    def sound(self, pcm: Pcm) -> None:
        """Adds samples [N]."""
        self._blocks.append(pcm)
        self._samples += len(pcm)

    def read(self, piece: str) -> None:
        """Adds text."""
        self.text += piece
        if piece.strip():
            self.words.append((self.heard_s, piece.strip()))

    def says(self, utterance: Utterance) -> bool:
        """Whether the answer was read whole."""
        return self.text.strip().endswith(utterance.answer)

    def digits(self) -> tuple[str, ...]:
        """The digits in the sound, by ear, where the text says that there is one."""
        samples, ear = np.concatenate(self._blocks), DigitRecognizer()
        spoken = [(at_s, word) for at_s, word in self.words if word in DIGITS]
        ends = [*(at_s for at_s, _ in spoken), len(samples) / RATE_HZ][1:]
        return tuple(
            ear.digit(samples[int(at_s * RATE_HZ) : int(min(end_s, at_s + LONGEST_DIGIT_S) * RATE_HZ)], RATE_HZ)
            for (at_s, _), end_s in zip(spoken, ends, strict=True)
        )
