"""A model that speaks, asked in writing."""

from __future__ import annotations

from collections.abc import AsyncIterator

from antiphon.errors import PreconditionError
from antiphon_edge.client.session import Session

STEPS_AT_ONCE = 4  # under way: enough to hide the network


async def ask(session: Session, text: str, longest: int = 500) -> AsyncIterator[str]:
    """What the model writes back to `text`, as it comes.

    Args:
        session: an open session in the mode "text".
        text: what the person writes.
        longest: steps that the answer may take. One that is longer is left there, and with it the session: the model
            would go on with it before it reads another text.

    Raises:
        ArgumentError: the text has no words.
        PreconditionError: the session is no conversation in writing.
        AntiphonError: whatever ended the session.
    """
    if not session.writes:
        raise PreconditionError('ask: the session is no conversation in writing: connect with mode="text"')
    await session.say(text)
    await session.finish_saying()
    answered, steps = False, 0
    begins: int | None = None  # the first reply that holds the model's own text
    while not answered and steps < longest:
        while session.in_flight < STEPS_AT_ONCE:
            await session.send()
        reply = await session.receive()
        assert reply is not None, "nobody has ended the session"
        answered = reply.said_all
        if reply.all_begun:
            begins = reply.sequence + session.model.delay_steps
        if begins is not None and begins <= reply.sequence:
            steps += 1
            yield reply.text
