"""PersonaPlex through a whole worker: every kind of prompt, in a new session and in one that moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from antiphon.codes import Codes
from antiphon.errors import PreconditionError
from antiphon.history import HistoryTokens
from antiphon.spec import GREEDY
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.checkpoint.tokenizer import Tokenizer
from antiphon_cloud.runner.prefill import history_steps
from antiphon_cloud.runner.runner import ModelRunner
from antiphon_cloud.serving.prompts import facts_of
from antiphon_cloud.sessions.prompts.families import strategy
from antiphon_cloud.sessions.prompts.prompt import Prompt
from antiphon_edge.client.connect import connect
from antiphon_edge.client.describe import describe
from antiphon_edge.client.events import Change, Resumed
from antiphon_edge.client.reconnect import Reconnect
from antiphon_edge.client.session import Session
from tests.support.personas import CODEC, DIRECTORY, EXPECTED, TEXT, load_runner, personaplex, user_codes

VOICE = EXPECTED["voice_codes"].astype(np.int32)
PROMPTS: dict[str, tuple[dict[str, Any], int]] = {  # and the steps that it takes
    "no_prompt": ({}, 12),
    "voice_only": ({"voice": VOICE}, 33),
    "text_only": ({"persona": TEXT}, 33),
    "voice_and_text": ({"voice": VOICE, "persona": TEXT}, 54),
    "pt_voice_and_text": ({"voice": "TINY", "persona": f"  {TEXT}\n"}, 54),
}
BROKEN_AT = 40
AT_ONCE = Reconnect(first_s=0.0, longest_s=0.1)


async def exchange(session: Session, frames: Codes) -> list[list[int]]:
    """Text token and codes of the reply to each frame."""
    rows = []
    for frame in frames:
        await session.send(frame)
        reply = await session.receive()
        assert reply is not None
        assert reply.codes is not None, "the prompt's steps have used the delays up"
        assert reply.text_token is not None
        rows.append([reply.text_token, *reply.codes.tolist()])
    return rows


@pytest.mark.parametrize("kind", PROMPTS)
async def test_the_reference_and_the_worker_say_the_same_after_a_prompt(kind: str) -> None:
    prompt, steps = PROMPTS[kind]
    async with (
        personaplex(load_runner()) as worker,
        connect(worker.address, CODEC, sampling=GREEDY, **prompt) as session,
    ):
        assert session.prompt_steps == steps
        np.testing.assert_array_equal(await exchange(session, user_codes()), EXPECTED[f"tokens_{kind}"])


@pytest.mark.parametrize("kind", PROMPTS)
async def test_a_session_with_a_prompt_goes_on_elsewhere_with_the_same_words(kind: str) -> None:
    changes: list[Change] = []
    async with personaplex(load_runner()) as first, personaplex(load_runner()) as second:
        addresses, (prompt, _) = [first.address, second.address], PROMPTS[kind]
        async with connect(
            addresses, CODEC, sampling=GREEDY, reconnect=AT_ONCE, on_change=changes.append, **prompt
        ) as session:
            said = await exchange(session, user_codes()[:BROKEN_AT])
            await first.server.stop()
            said += await exchange(session, user_codes()[BROKEN_AT:])
            assert session.address == second.address
    resumed = next(change for change in changes if isinstance(change, Resumed))
    assert resumed.rebuilt_steps == BROKEN_AT
    np.testing.assert_array_equal(said, EXPECTED[f"tokens_{kind}"])


@pytest.mark.parametrize("mode", ["text", "dialogue"])
async def test_a_session_with_a_prompt_and_words_to_say_goes_on_elsewhere_with_the_same_words(mode: str) -> None:
    assert await told(mode, broken_at=5) == await told(mode)


async def told(mode: str, broken_at: int = -1) -> list[tuple[int | None, bool, int | None]]:
    """Text, and what of the script begins, of the replies to a session that is given words and perhaps moves."""
    rows = []
    async with (
        personaplex(load_runner()) as first,
        personaplex(load_runner()) as second,
        connect(
            [first.address, second.address], CODEC, sampling=GREEDY, reconnect=AT_ONCE, mode=mode, persona=TEXT
        ) as session,
    ):
        await session.say("hello moshi speaks")
        await session.finish_saying()
        for number, frame in enumerate(user_codes()[:BROKEN_AT]):
            if number == broken_at:
                await first.server.stop()
            await session.send(frame if session.listens else ())
            reply = await session.receive()
            assert reply is not None
            assert (reply.codes is not None) is session.listens
            rows.append((reply.text_token, reply.all_begun, None if reply.codes is None else int(reply.codes[0])))
    return rows


async def test_the_worker_lists_its_voices_and_names_them_to_whoever_asks_for_another() -> None:
    async with personaplex(load_runner()) as worker:
        described = await describe(worker.address)
        assert described.voices == ("TINY",)
        assert (described.model.takes_voice, described.model.takes_text, described.model.delay_steps) == (True, True, 0)
        with pytest.raises(PreconditionError, match=r"there is no voice 'Bob' here; there are TINY$"):
            await connect(worker.address, CODEC, voice="Bob").__aenter__()


async def test_a_worker_whose_voice_is_another_one_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = load_runner()
    changed.voices = {"TINY": replace(changed.voices["TINY"], sha256=bytes(32))}
    async with personaplex(load_runner()) as first, personaplex(changed) as other, personaplex(load_runner()) as last:
        addresses = [first.address, other.address, last.address]
        async with connect(addresses, CODEC, sampling=GREEDY, voice="TINY", persona=TEXT, reconnect=AT_ONCE) as session:
            said = await exchange(session, user_codes()[:5])
            await first.server.stop()
            said += await exchange(session, user_codes()[5:10])
            assert session.address == last.address
    np.testing.assert_array_equal(said, EXPECTED["tokens_pt_voice_and_text"][:10])


def begin(runner: ModelRunner, slot: int, past: HistoryTokens, prompt: Prompt) -> None:
    prefill = runner.resume(slot, 0, GREEDY, past, prompt.settings)
    while prefill.left:
        prefill.advance(17)


def hold(runner: ModelRunner, slot: int, past: HistoryTokens, prompt: Prompt, frames: Codes) -> Codes:
    """Text and codes of the replies to frames, after a session's past."""
    begin(runner, slot, past, prompt)
    replies = []
    for frame in frames:
        result = runner.step([slot], frame[None])
        replies.append(np.concatenate((result.text, result.codes[0])))
    return np.stack(replies)


def asked(runner: ModelRunner) -> Prompt:
    facts = [facts_of(voice) for voice in runner.voices.values()]
    prompt = strategy(runner.spec, Tokenizer(DIRECTORY.tokenizer).encode, facts)(pb.Prompt(voices=["TINY"], text=TEXT))
    assert prompt is not None
    return prompt


def test_a_session_goes_on_from_a_history_that_reaches_back_to_its_prompt_no_more() -> None:
    runner = load_runner()
    prompt, reach = asked(runner), history_steps(runner.config)
    user = np.random.default_rng(5).integers(0, 2048, (reach + 30, 8), dtype=np.int32)
    whole = hold(runner, 0, prompt.before(None), prompt, user)
    taken = len(user) - 10
    kept = slice(taken - reach, taken)
    late = prompt.before(HistoryTokens(taken, user[kept], whole[kept, 0], whole[kept, 1:]))
    assert late.first > prompt.steps
    np.testing.assert_array_equal(hold(runner, 1, late, prompt, user[taken:]), whole[taken:])


def test_after_a_prompt_int8_agrees_with_the_reference_as_it_does_elsewhere() -> None:
    """Teacher-forced: the reference's tokens are what each next step hears."""
    runner, wanted = load_runner(quantize="int8"), EXPECTED["tokens_pt_voice_and_text"].astype(np.int32)
    prompt = asked(runner)
    begin(runner, 0, prompt.before(None), prompt)
    text, codes = [], []
    for row, frame in enumerate(user_codes()[:-1]):
        undelayed, delayed = wanted[row + 1], wanted[row]  # text and the first codebook are a frame ahead
        forced = np.concatenate((undelayed[[0, 0, 1]], delayed[2:]))
        runner.step([0], frame[None], forced[None])
        text.append(runner.text_logits[0].argmax() == undelayed[0])
        codes.append(runner.audio_logits[0].argmax(1) == forced[2:])
    assert np.mean(text) >= 0.9
    assert np.mean(codes) >= 0.8
