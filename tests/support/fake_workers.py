"""Workers that are a few lines of Python in the caller's own event loop: what a session's life is tested with.

No network, no thread, no gRPC: a test says how each worker behaves, and changes it while sessions live.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

from antiphon.errors import TAKEN_OVER, AntiphonError, PreconditionError, UnavailableError
from antiphon.history import History
from antiphon.spec import Limits
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.transport.handshake import Opening
from tests.support.servers import CODEC
from tools.harness.stub_runner import SPEC as STUB
from tools.harness.stub_runner import expected

SPEC = replace(STUB, delay_steps=0)
NETWORK_S = 0.01  # what a message takes


@dataclass(eq=False)
class FakeWorker:
    """How it behaves now.

    Attributes:
        takes: what becomes of whoever dials: "yes", "no" (nobody answers), "never" (no answer comes), "final" (a
            refusal that another attempt would meet again).
        answers: whether frames are answered, sooner or later; what came meanwhile is answered as soon as it does.
        closes: whether Close is answered.
        reads: whether it takes what is sent; a writer waits otherwise.
        one_owner: whether there is one session, which whoever dials takes from whoever has it.
        brings: what becomes of a call as soon as it is open: None for nothing, "goes" for GoAway, an error for its end.
    """

    address: str
    frames_in_flight: int = 4
    takes: str = "yes"
    answers: bool = True
    closes: bool = True
    reads: bool = True
    one_owner: bool = False
    brings: AntiphonError | str | None = None
    dialled_s: list[float] = field(default_factory=list)
    calls: set[FakeCall] = field(default_factory=set)

    def pump(self) -> None:
        """Says what is to be said now."""
        for call in tuple(self.calls):
            call.pump()

    def lose(self, error: AntiphonError | None = None) -> None:
        """Every call breaks."""
        for call in tuple(self.calls):
            call.hear(error or UnavailableError(f"lost the worker at {self.address}"))

    def go_away(self) -> None:
        """Every call is asked to go."""
        for call in tuple(self.calls):
            call.hear(pb.ConverseResponse(go_away=pb.GoAway(reason="the worker is draining", time_left_ms=5000)))


class FakeCall:
    """What a stream needs of `Call`. Cancelling a read or a write ends it, as gRPC's do."""

    def __init__(self, worker: FakeWorker, first_step: int) -> None:
        self.address = worker.address
        self.given = 0
        self.closed = False
        self.said_close = False
        limits = Limits(4, max_frames_in_flight=worker.frames_in_flight)
        self.opened = pb.Opened(
            session_id="fake", model=SPEC.to_message(), codec=CODEC.to_message(), limits=limits.to_message()
        )
        self.opened.step_offset = first_step
        self._worker = worker
        self._next = first_step
        self._frames: list[bytes] = []
        self._inbox: asyncio.Queue[pb.ConverseResponse | AntiphonError] = asyncio.Queue()
        self._over: AntiphonError | None = None
        self._ended = asyncio.Event()
        worker.calls.add(self)

    def hear(self, message: pb.ConverseResponse | AntiphonError) -> None:
        """The worker says something."""
        self._inbox.put_nowait(message)

    def pump(self) -> None:
        """Answers what was sent, as far as the worker answers now."""
        while self._frames and self._worker.answers:
            codes = expected(SPEC.user_packer.unpack(self._frames.pop(0)), 0, self._next)
            self.hear(pb.ConverseResponse(codes=SPEC.model_packer.pack(codes), text_token=self._next % 256))
            self._next += 1
        if self.said_close and not self._frames and self._worker.closes:
            self.hear(pb.ConverseResponse(closed=pb.Closed(frames=self._next)))

    async def write(self, request: pb.ConverseRequest) -> None:
        """A message to the worker."""
        await self._on_the_way()
        if request.HasField("close"):
            self.said_close = True
        else:
            self._frames.append(request.codes)
        self.pump()

    async def _on_the_way(self) -> None:
        try:
            await asyncio.sleep(NETWORK_S)
            if not self._worker.reads:
                await self._ended.wait()
        except asyncio.CancelledError:
            self._over = UnavailableError("cancelled")
            raise
        if self._over is not None:
            raise self._over

    async def read(self) -> pb.ConverseResponse:
        """A message of the worker."""
        if self._over is not None:
            raise self._over
        try:
            message = await self._inbox.get()
        except asyncio.CancelledError:
            self._over = UnavailableError("cancelled")
            raise
        if isinstance(message, AntiphonError):
            self._over = message
            raise message
        return message

    async def close(self) -> None:
        """The connection is given back."""
        await asyncio.sleep(NETWORK_S)
        self._over = self._over or UnavailableError("the call was ended here")
        self._ended.set()
        self.hear(self._over)
        self.closed = True
        self._worker.calls.discard(self)

    async def abandon(self) -> None:
        """The same, with Close."""
        self.said_close = True
        await self.close()


class FakeNetwork:
    """The workers by address; `dial` stands for `Call.dial`."""

    def __init__(self, *addresses: str) -> None:
        self.workers = {address: FakeWorker(address) for address in addresses}
        self.calls: list[FakeCall] = []

    async def dial(
        self, address: str, opening: Opening, history: History | None, resume_token: bytes, connect_timeout_s: float
    ) -> Any:
        """An open call, where the worker takes one."""
        worker = self.workers[address]
        worker.dialled_s.append(asyncio.get_running_loop().time())
        await asyncio.sleep(NETWORK_S)
        if worker.takes == "never":
            await asyncio.sleep(connect_timeout_s)
        if worker.takes == "final":
            raise PreconditionError(f"the worker at {address} serves another model")
        if worker.takes != "yes":
            raise UnavailableError(f"no worker answers at {address}")
        if worker.one_owner:
            worker.lose(UnavailableError(f"{TAKEN_OVER}: connect to another worker"))
        call = FakeCall(worker, history.steps if history is not None else 0)
        self.calls.append(call)
        if worker.brings == "goes":
            worker.go_away()
        elif isinstance(worker.brings, AntiphonError):
            call.hear(worker.brings)
        return call

    @property
    def held(self) -> list[FakeCall]:
        """Calls that were opened and never given back."""
        return [call for call in self.calls if not call.closed]
