"""A slot on loan: how a session's frames reach the engine, and its replies the session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from antiphon.codes import Codes
from antiphon.errors import AntiphonError
from antiphon_cloud.sessions.clients import Client

if TYPE_CHECKING:
    from antiphon_cloud.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Reply:
    """What a step made of one frame."""

    sequence: int
    text_token: int  # −2: held back by the delays
    codes: Codes  # [model_codebooks]
    wait_us: int  # from arrival to the start of the step
    step_us: int


Deliver = Callable[[Reply | AntiphonError], None]


class Lease:
    """A slot on loan to one session. Results go to the lease, never to the slot: a late one finds no new owner."""

    def __init__(self, engine: Engine, number: int, slot: int, deliver: Deliver, client: Client) -> None:
        self.number = number  # no two leases of an engine share one
        self.slot = slot
        self.client = client
        self.released = False
        self.waiting = 0
        """Frames that were not answered yet."""
        self.kept = False
        """Held for an edge that has lost its stream; another session may have the slot."""
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the session can step; fails with AntiphonError where it could not be rebuilt."""
        self._engine = engine
        self._deliver = deliver

    def submit(self, sequence: int, codes: Codes) -> None:
        """Queues one frame's user codes [user_codebooks]; its reply is delivered on the event loop, in order."""
        self.waiting += 1
        self._engine.submit(self, sequence, codes)

    def deliver(self, reply: Reply | AntiphonError) -> None:
        """Hands the session a reply, or why there will be none."""
        if self.ready.done():
            self._deliver(reply)
        elif isinstance(reply, AntiphonError):
            self.ready.set_exception(reply)

    def release(self) -> None:
        """Gives the slot back; safe to call twice. Replies still under way are dropped."""
        if not self.released:
            self.released = True
            self.ready.cancel()
            self._engine.release(self)
