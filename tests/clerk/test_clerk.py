"""The number clerk hears, answers aloud and else keeps silent: the installed model through edge codec, gRPC, worker.

The people are twenty utterances by voices that training never heard, made by `tools/clerk/train/data/examples.py`. What
the thresholds are worth is shown by breaking one part after the other: none of the broken ones passes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from antiphon_cloud.backends.cpu.library import set_threads
from antiphon_cloud.server.process import Server, ServerConfig
from antiphon_cloud.serving.config import ServingConfig
from antiphon_cloud.serving.load import load
from antiphon_edge import Codec, Hearing, connect
from antiphon_edge.codec.codec import Decoder, Encoder
from antiphon_number_clerk import NUMBER_CLERK
from tools import ROOT
from tools.clerk.recognizer import DigitRecognizer
from tools.clerk.scenes import Scene, turn_of
from tools.clerk.scores import answers, false_starts, interruptions
from tools.clerk.train.data.clips import Word
from tools.clerk.train.data.examples import PERIOD_S, TEST
from tools.demo.conversation import converse_all

AT_ONCE = 4
DEMO = ROOT / "tools/demo/conversation.flac"
EXACT, UNDERSTOOD = 85.0, 90.0  # %; of these twenty it has all
DELAY_S = 0.8  # from the end of speech to the answer, if steps and network took no time
FEW = 5  # utterances tell a broken clerk


@dataclass(frozen=True)
class Score:
    """What the thresholds look at."""

    exact: float
    understood: float
    early: float
    delay_s: float | None

    @property
    def passes(self) -> bool:
        prompt = self.early == 0 and self.delay_s is not None and self.delay_s <= DELAY_S
        return prompt and self.exact >= EXACT and self.understood >= UNDERSTOOD


def scenes() -> list[Scene]:
    """The utterances, each in a conversation of its own."""
    samples, rate = soundfile.read(TEST.with_suffix(".flac"), dtype="float32")
    length = int(PERIOD_S * rate) // 1920 * 1920
    return [
        Scene(samples[i * length : (i + 1) * length], (turn_of(words, i * length / rate),))
        for i, words in enumerate(turns(TEST))
    ]


def turns(path: Path) -> list[list[Word]]:
    """The words of each turn of a track that `tools/clerk/train/data/examples.py` wrote."""
    said = json.loads(path.with_suffix(".json").read_text())
    return [[Word(text, start_s, end_s) for start_s, end_s, text in words] for words in said]


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Serving sets this process' threads."""
    before = torch.get_num_threads()
    yield
    set_threads(None)
    torch.set_num_threads(before)


@asynccontextmanager
async def served(model: Path = NUMBER_CLERK) -> AsyncIterator[str]:
    """A worker's address, until the block ends."""
    server = Server(ServerConfig(listen="127.0.0.1:0"))
    address = await server.bind()
    await server.serve(load(ServingConfig(model, slots=AT_ONCE, threads=1, step_budget_ms=1e9), server.worker.metrics))
    try:
        yield address
    finally:
        await server.stop()


async def scored(some: Sequence[Scene], model: Path = NUMBER_CLERK) -> Score:
    """The clerk's answers to `some` people."""
    async with served(model) as address:
        codec = Codec.load(NUMBER_CLERK / "codec")
        heard = await converse_all(address, codec, [scene.samples for scene in some], AT_ONCE)
    row: dict[str, Any] = answers(some, heard, DigitRecognizer())
    return Score(
        row["exact text %"],
        row["digits understood from the sound %"],
        row["spoke before the end %"],
        row["median delay s"],
    )


async def test_it_says_the_digits_that_were_said() -> None:
    score = await scored(scenes())
    assert score.passes, score


async def test_it_greets_and_then_waits_to_be_spoken_to() -> None:
    quiet = [np.zeros(6 * 24_000, np.float32)]
    async with served() as address:
        row: dict[str, Any] = false_starts(
            await converse_all(address, Codec.load(NUMBER_CLERK / "codec"), quiet, AT_ONCE)
        )
    assert (row["greeted %"], row["false starts %"]) == (100.0, 0.0)


async def test_it_stops_when_it_is_interrupted_and_answers_what_interrupted_it() -> None:
    samples, rate = soundfile.read(DEMO, dtype="float32")
    _, second, third = (turn_of(words) for words in turns(DEMO))
    unheard = samples.copy()
    unheard[int(third.start_s * rate) :] = 0  # a clerk that is deaf to the interruption talks on
    async with served() as address:
        heard, deaf = await converse_all(address, Codec.load(NUMBER_CLERK / "codec"), [samples, unheard], AT_ONCE)
    scene = [Scene(samples, (second, third))]
    stops: dict[str, Any] = interruptions(scene, [heard])
    talks_on: dict[str, Any] = interruptions(scene, [deaf])
    assert stops == {"interruptions": 1, "stopped within 0.5 s %": 100.0, "exact second answers %": 100.0}
    assert talks_on == {"interruptions": 1, "stopped within 0.5 s %": 0.0, "exact second answers %": 0.0}


async def test_it_says_what_it_is_given_to_say_and_goes_on_listening() -> None:
    """Its words come one after the other in text and in sound, and then a person's turn is answered as ever."""
    codec, recognizer, frame = Codec.load(NUMBER_CLERK / "codec"), DigitRecognizer(), 1920
    scene = scenes()[2]
    samples = np.concatenate([np.zeros(120 * frame, np.float32), scene.samples])
    words: list[tuple[int, str]] = []
    audio: list[Any] = []
    async with served() as address, connect(address, codec.spec, seed=1) as session:
        hearing, decoder = Hearing(codec, session.model), codec.decoder()
        for number, pcm in enumerate(samples[: len(samples) // frame * frame].reshape(-1, frame)):
            if number == 40:
                await session.say("you said one two three")
                await session.finish_saying()
            await session.send(hearing.step(pcm))
            reply = await session.receive()
            assert reply is not None
            audio.append(np.zeros(frame, np.float32) if reply.codes is None else decoder.step(reply.codes))
            if reply.text.strip() and number > 40:
                words.append((number, reply.text.strip()))
    assert [word for _, word in words] == ["you", "said", "one", "two", "three", "you", "said", *scene.turns[0].digits]
    heard = [recognizer.digit(np.concatenate(audio[at : at + 6]), 24_000) for at, _ in words[2:5]]
    assert heard == ["one", "two", "three"]


def forgetting(monkeypatch: pytest.MonkeyPatch, half: type[Encoder] | type[Decoder]) -> None:
    """Lets half of the codec begin anew with every frame."""
    step: Callable[..., Any] = half.step

    def forgetful(codec: Any, frame: Any) -> Any:
        codec.reset()
        return step(codec, frame)

    monkeypatch.setattr(half, "step", forgetful)


async def test_a_codec_that_forgets_between_frames_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    forgetting(monkeypatch, Encoder)
    score = await scored(scenes()[:FEW])
    assert not score.passes, score


async def test_right_words_in_sound_that_nobody_understands_do_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    forgetting(monkeypatch, Decoder)
    score = await scored(scenes()[:FEW])
    assert score.exact >= EXACT, score
    assert not score.passes, score


def changed(folder: Path, **config: Any) -> Path:
    """A copy of the clerk with another config.json."""
    broken = Path(shutil.copytree(NUMBER_CLERK, folder))
    path = broken / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return broken


async def test_a_sampler_that_takes_whatever_comes_does_not_pass(tmp_path: Path) -> None:
    warm = {"temp": 1.0, "temp_text": 1.0, "top_k": 250, "top_k_text": 17}
    score = await scored(scenes()[:FEW], changed(tmp_path / "clerk", lm_gen_config=warm))
    assert not score.passes, score


async def test_a_model_without_its_delays_does_not_pass(tmp_path: Path) -> None:
    delays = json.loads((NUMBER_CLERK / "config.json").read_text())["delays"]
    score = await scored(scenes()[:FEW], changed(tmp_path / "clerk", delays=[0] * len(delays)))
    assert not score.passes, score


async def test_int8_weights_with_the_scale_of_the_next_row_do_not_pass(tmp_path: Path) -> None:
    broken = changed(tmp_path / "clerk")
    weights = load_file(broken / "model.q8.safetensors")
    for name in [name for name in weights if name.endswith("_scb") and "emb" not in name]:
        weights[name] = weights[name].roll(1)
    save_file(weights, broken / "model.q8.safetensors")
    score = await scored(scenes()[:FEW], broken)
    assert not score.passes, score
