"""PersonaPlex through a whole worker: every kind of prompt, in a new session and in one that moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from antiphon.codes import Codes
from antiphon.spec import GREEDY
from antiphon_edge.client.connect import connect
from antiphon_edge.client.events import Change, Resumed
from antiphon_edge.client.reconnect import Reconnect
from antiphon_edge.client.session import Session
from tests.support.personas import CODEC, EXPECTED, TEXT, load_runner, personaplex, user_codes

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
