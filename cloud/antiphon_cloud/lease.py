"""A slot on loan: how a session's frames reach the engine, and its replies the session."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from antiphon.codes import Codes
from antiphon.errors import AntiphonError
from antiphon_cloud.clients import Client

if TYPE_CHECKING:
    from antiphon_cloud.engine import Engine


@dataclass(frozen=True, slots=True)
class Reply:
    """What a step made of one frame."""

    sequence: int
    text_token: int  # −2: held back by the delays
    codes: Codes  # [model_codebooks]
    wait_us: int  # from arrival to the start of the step
    step_us: int


Deliver = Callable[[Reply | AntiphonError], None]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A frame that waits for its step."""

    sequence: int
    codes: Codes
    arrived_ns: int


class Lease:
    """A slot on loan to one session. Results go to the lease, never to the slot: a late one finds no new owner."""

    def __init__(self, engine: Engine, slot: int, deliver: Deliver, client: Client) -> None:
        self.slot = slot
        self.client = client
        self.released = False
        self.inbox: deque[Waiting] = deque()  # bounded by the session's frames in flight
        self.kept = False
        """Held for an edge that has lost its stream; another session may have the slot."""
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the session can step; fails with AntiphonError where it could not be rebuilt."""
        self._engine = engine
        self._deliver = deliver

    def submit(self, sequence: int, codes: Codes) -> None:
        """Queues one frame's user codes [user_codebooks]; its reply is delivered on the event loop, in order."""
        self._engine.submit(self, Waiting(sequence, codes, time.perf_counter_ns()))

    def deliver(self, reply: Reply | AntiphonError) -> None:
        """Hands a reply to the session, unless it has left."""
        if not self.released:
            self._deliver(reply)

    def rebuilt(self, error: AntiphonError | None) -> None:
        """The rebuild has ended, well or not."""
        if self.released:
            return
        if error is None:
            self.ready.set_result(None)
        else:
            self.ready.set_exception(error)

    def release(self) -> None:
        """Gives the slot back; safe to call twice. Replies still under way are dropped."""
        if not self.released:
            self.released = True
            self.ready.cancel()
            self._engine.release(self)
