"""What every door shares: the workers behind it, who may come in, and how many."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from antiphon.errors import AntiphonError, UnavailableError
from antiphon_edge.client.events import Resumed
from antiphon_gateway.access.admission import Access
from antiphon_gateway.access.visitor import Visitor
from antiphon_gateway.calls.call import Call, Manner, open_call
from antiphon_gateway.calls.capacity import Capacity
from antiphon_gateway.calls.codec_threads import CodecThreads
from antiphon_gateway.calls.events import Moved
from antiphon_gateway.calls.fleet import Fleet, Wanted
from antiphon_gateway.calls.record import CallRecord, Watch


class Seat:
    """A caller at a door, who may be let in."""

    def __init__(self, watch: Watch, door: str, visitor: Visitor) -> None:
        self._watch, self._door, self._visitor = watch, door, visitor
        self._record: CallRecord | None = None

    def open(self, conversation: str, worker: str = "", step: int = 0) -> CallRecord:
        """The caller is let in; arguments as `CallRecord` has them."""
        self._record = CallRecord(self._watch, self._door, self._visitor, conversation, worker, step)
        return self._record

    def leave(self, status: str) -> None:
        """The caller leaves, with a status as an error has it."""
        if self._record is not None:
            self._record.end(status)
        elif status != "OK":
            self._watch.refused(self._door, self._visitor.name, status)


@dataclass(slots=True)
class Gateway:
    """What every door shares.

    Args:
        threads: encode and decode.
        capacity: how many calls there may be.
        access: who may come in.
        watch: where is said what becomes of callers.
        static: folder of a page to serve; None for none.
        dialogue: workers of a model that listens and speaks; None until one has answered.
        transcription: workers of a model that only listens.
        speech: workers of a model that only speaks.
    """

    threads: CodecThreads
    capacity: Capacity
    access: Access
    watch: Watch
    static: Path | None = None
    dialogue: Fleet | None = None
    transcription: Fleet | None = None
    speech: Fleet | None = None
    sockets: set[web.WebSocketResponse] = field(default_factory=set)
    """Open WebSockets, which a drain closes at its end."""

    def need(self, fleet: Fleet | None, what: str) -> Fleet:
        """The fleet.

        Args:
            fleet: one of the three above.
            what: what it is needed for, such as "a dialogue".

        Raises:
            UnavailableError: there is none, or none has answered yet.
        """
        if fleet is None:
            raise UnavailableError(f"no worker for {what} has answered this gateway: ask its operator, or try again")
        return fleet

    @asynccontextmanager
    async def call(
        self, door: str, visitor: Visitor, fleet: Fleet, wanted: Wanted, manner: Manner
    ) -> AsyncIterator[Call]:
        """A call of a visitor's, until the block ends; counted, and refused where it is one too many.

        Args:
            door: its name in the metrics.
            visitor: who calls.
            fleet: whom.
            wanted: the session.
            manner: of the client.

        Raises:
            NoFreeSlotError: the gateway or the workers are full, or the visitor has as many calls as one may.
            UnavailableError: the gateway is draining, or no worker answers.
            PreconditionError: the call has lasted as long as one may.
            UnauthenticatedError: the visitor's key or token has expired.
            AntiphonError: as `connect`.
        """
        with self.counted(door, visitor) as seat, self.capacity.place(visitor.name, visitor.calls):
            async with self.access.lifetime(visitor), open_call(fleet, self.threads, wanted, manner) as call:
                call.record = seat.open(call.session.conversation, call.session.address)
                yield call

    @contextmanager
    def counted(self, door: str, visitor: Visitor) -> Iterator[Seat]:
        """Says how a caller fares, until the block ends."""
        seat = Seat(self.watch, door, visitor)
        status = "CANCELLED"
        try:
            yield seat
            status = "OK"
        except AntiphonError as error:
            status = error.status
            raise
        except ConnectionError:  # the client has gone
            status = "OK"
            raise
        finally:
            seat.leave(status)

    def note(self, moved: Moved) -> None:
        """Counts a session that has moved."""
        if isinstance(moved.change, Resumed):
            self.watch.metrics.resumed()
