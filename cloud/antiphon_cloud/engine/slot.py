"""A slot in use, and the reply that a step makes for its owner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from antiphon.codes import Codes
from antiphon.errors import AntiphonError


@dataclass(frozen=True, slots=True)
class Reply:
    """What a step made of one frame."""

    sequence: int
    text_token: int  # −2: held back by the delays
    codes: Codes  # [model_codebooks]
    wait_us: int  # from arrival to the start of the step
    step_us: int
    fed_text: int  # the text token that the step put into its stream, before any delay
    drawn_text: int  # the token that the model drew for it
    heads: tuple[float, ...] = ()  # the probability of each extra head's first class


Deliver = Callable[[Reply | AntiphonError], None]


@dataclass(slots=True, eq=False)
class Slot:
    """A row of the batch while one session has it. Replies carry the generation, never the row: one that comes late
    does not reach the row's next owner."""

    generation: int  # no two slots of an engine share one
    row: int  # of the batch
    deliver: Deliver  # called on the event loop with each reply, or with why there will be none
    ready: asyncio.Future[None]
    """Done once the session can step; fails with AntiphonError where its prefill did."""
    prompt_steps: int = 0  # that the session took before its first frame
    resumed: bool = False  # whether it goes on from a history, beyond its prompt
    waiting: int = 0
    """Frames that were not answered yet."""
    released: bool = False
    rebuilt: bool = False
    """Whether it goes on from a history."""
    adapter_sha256: bytes = b""
    """Of the adapter that it is stepped with, once it is `ready`."""
