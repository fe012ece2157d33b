"""Hibiki and text-to-speech against their references: every token that is heard, at float32."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from antiphon.spec import GREEDY
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.tokenizer import Tokenizer
from antiphon_cloud.engine.slot import Reply
from antiphon_cloud.runner.runner import ModelRunner
from antiphon_cloud.runner.settings import SessionSettings
from antiphon_cloud.sessions.script.script import Script, ScriptRules
from tests.support.golden import GOLDEN
from tests.support.language_models import expected

SPOKEN: dict[str, dict[str, Any]] = json.loads((GOLDEN / "tts-tiny/expected.json").read_text())


def runner_of(case: str, codebooks: int | None = None) -> ModelRunner:
    return ModelRunner.load(ModelDirectory.open(GOLDEN / case, codebooks), 2, torch.float32, "cpu")


def test_hibiki_translates_as_its_reference_does_in_its_best_voice() -> None:
    golden, runner = expected("hibiki-tiny"), runner_of("hibiki-tiny")
    runner.reset(0, 0, GREEDY)
    results = [runner.step([0], frame[None]) for frame in golden["user_codes"]]
    frames = [np.concatenate((result.text, result.codes[0])) for result in results]
    np.testing.assert_array_equal(frames[runner.spec.delay_steps :], golden["tokens"])


def test_hibiki_translates_otherwise_in_another_voice() -> None:
    golden, runner = expected("hibiki-tiny"), runner_of("hibiki-tiny")
    runner.reset(0, 0, GREEDY, SessionSettings(conditions={"description": "very_bad"}))
    results = [runner.step([0], frame[None]) for frame in golden["user_codes"]]
    frames = np.array([np.concatenate((result.text, result.codes[0])) for result in results])
    assert (frames[runner.spec.delay_steps :] != golden["tokens"]).any()


def spoken(case: dict[str, Any], runner: ModelRunner) -> tuple[npt.NDArray[np.int32], bool]:
    """All frames of a script, as the session has it forced, and whether it said at the last one that all is said."""
    directory = ModelDirectory.open(GOLDEN / "tts-tiny")
    config, model = directory.config, runner.spec
    delays = runner.config.delays[1 : 1 + model.model_codebooks]
    encode = Tokenizer(directory.tokenizer).encode
    rules = ScriptRules(encode, config.tts_config.second_stream_ahead, delays, case["padding_between"])
    script = Script(model, rules, pb.MODE_SPEECH, 1 << 16)
    for turn, line in enumerate(case["script"]):
        script.add(pb.Say(text=line, speaker=turn % 2, end=turn == len(case["script"]) - 1))
    runner.reset(0, 0, GREEDY, SessionSettings({"cfg": str(case["cfg"])}, tuple(case["voices"])))
    frames, all_said = [], False
    for step in range(len(case["text_steps"])):
        assert not all_said
        forcing = script.forcing()
        forced = None if forcing.tokens is None else forcing.tokens[None]
        result = runner.step([0], np.zeros((1, 0), np.int32), forced)
        fed, drawn = int(result.fed[0]), int(result.drawn_text[0])
        assert fed == case["text_steps"][step][1]
        reply = Reply(step, int(result.text[0]), result.codes[0], 0, 0, fed, drawn)
        all_said = script.advance(forcing.event(reply), reply.text_token).said_all
        frames.append(np.concatenate((result.text, result.codes[0])))
    return np.stack(frames)[model.delay_steps :], all_said


@pytest.mark.parametrize("name", SPOKEN)
def test_a_script_is_read_as_its_reference_reads_it(name: str) -> None:
    """One voice, a dialogue of two with a pause, and fewer codebooks than the model has."""
    frames, all_said = spoken(SPOKEN[name], runner_of("tts-tiny", SPOKEN[name]["codebooks"]))
    np.testing.assert_array_equal(frames, expected("tts-tiny")[f"{name}_frames"])
    assert all_said
