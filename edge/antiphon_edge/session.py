"""A session: frames in, replies out, whatever becomes of the streams that carry it.

The session owns the conversation (`Exchange`): the frames that are not answered yet, and the tokens of those that are.
A line carries it over one call. When the stream breaks or stalls, or the worker asks the edge to go, the session opens
another call with its history, sends the unanswered frames again and goes on. While two lines carry it, both get the
frames, and the first reply to each counts; the old one goes when the new one has caught up, so that nobody hears a gap.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

from antiphon.codes import Codes
from antiphon.errors import AntiphonError, PreconditionError, SequenceError, SessionTimeoutError, UnavailableError
from antiphon.history import History
from antiphon.spec import Limits, ModelSpec, Sampling
from antiphon_edge.call import Call, Opening
from antiphon_edge.exchange import Exchange
from antiphon_edge.line import Line
from antiphon_edge.reconnect import PASSING, Reconnect
from antiphon_edge.replies import Change, GoAway, Reconnecting, Reply, Resumed, Totals

logger = logging.getLogger(__name__)

BACKLOG_S = 2.0  # of live audio, kept while no worker hears it
CATCHING_UP_S = 0.02  # between two looks whether a new line has the replies of the old one


class Session:
    """A live session; `client.connect` makes it.

    Bounded both ways: `send` waits while `limits.max_frames_in_flight` frames are unanswered or their replies not
    taken. Send and receive in turn, or from two tasks: one that sends, one that receives.

    Args:
        addresses: HOST:PORT of the workers, or of load balancers before them, in the order of preference.
        opening: what every call says first.
        reconnect: how to go on when a stream is lost.
        on_change: told when the session looks for another worker, and when it has found one.
    """

    def __init__(
        self, addresses: Sequence[str], opening: Opening, reconnect: Reconnect, on_change: Callable[[Change], None]
    ) -> None:
        self.seed = opening.seed
        self.model: ModelSpec
        self.resumptions = 0
        """Times that the session went on in another call."""
        self._addresses = list(addresses)
        self._at = 0  # which of them
        self._opening = opening
        self._reconnect = reconnect
        self._on_change = on_change
        self._exchange: Exchange
        self._line: Line  # the one that it goes on with
        self._lines: list[Line] = []  # and the one that it leaves
        self._task: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """The worker's name for the session."""
        return self._line.call.opened.session_id

    @property
    def address(self) -> str:
        """Where the session is, or was last."""
        return self._addresses[self._at]

    @property
    def limits(self) -> Limits:
        """What the worker allows."""
        return self._line.limits

    @property
    def sampling(self) -> Sampling:
        """How the session's tokens are drawn."""
        assert self._opening.sampling is not None, "the session is open"
        return self._opening.sampling

    @property
    def history(self) -> History:
        """The session's tokens so far."""
        return self._exchange.history

    @property
    def go_away(self) -> GoAway | None:
        """What the worker said, where it has asked the session to move and the session has not yet."""
        return self._line.go_away.result() if self._line.go_away.done() else None

    @property
    def totals(self) -> Totals | None:
        """How the session ended; None before, and where it ended with an error."""
        return self._exchange.totals

    @property
    def in_flight(self) -> int:
        """Frames sent whose replies were not taken yet."""
        return self._exchange.in_flight

    @property
    def dropped_frames(self) -> int:
        """Live frames that were never sent, because no worker was there to hear them."""
        return self._exchange.dropped_frames

    async def open(self) -> None:
        """The first call; `client.connect` opens it.

        Raises:
            AntiphonError: no address took the session; the error is the last one's.
        """
        call = await self._dial_any()
        self.model = ModelSpec.from_message(call.opened.model)
        self._packer = self.model.user_packer
        self._opening = self._opening.with_sampling(self.model.sampling)
        backlog = round(BACKLOG_S / self._opening.codec.frame_s)
        self._exchange = Exchange(self.model, Limits.from_message(call.opened.limits), backlog)
        self._take_over(call)
        self._task = asyncio.create_task(self._run())

    async def send(self, codes: Codes) -> int:
        """Sends one frame of user codes [user_codebooks] and returns its sequence number; waits for room.

        While no worker is there, frames are kept and sent later.

        Raises:
            CodesError: codes of a wrong shape or out of range; nothing was sent.
            AntiphonError: the session has ended; the error says why.
        """
        packed = self._packer.pack(codes)
        await self._exchange.room()
        sequence = self._exchange.give(packed)
        self._wake()
        return sequence

    def send_live(self, codes: Codes) -> None:
        """Sends one frame of user codes [user_codebooks] and never waits: while no worker hears them, the last 2 s of
        frames are kept, and older ones dropped and counted.

        Raises:
            CodesError: codes of a wrong shape or out of range; nothing was sent.
            AntiphonError: the session has ended; the error says why.
        """
        packed = self._packer.pack(codes)
        self._exchange.check_open()
        self._exchange.give_live(packed)
        self._wake()

    async def receive(self) -> Reply | None:
        """The next reply; None after the last one, when `totals` is known.

        Raises:
            AntiphonError: the session has ended; the error says why.
        """
        return await self._exchange.take()

    async def __aiter__(self) -> AsyncIterator[Reply]:
        while (reply := await self.receive()) is not None:
            yield reply

    async def end(self) -> None:
        """Says that no more frames will come; the replies under way still do."""
        if self._exchange.failure is not None:
            raise self._exchange.failure
        self._exchange.ending = True
        self._wake()

    async def abandon(self) -> None:
        """Leaves the session, wherever it stands; `client.connect` calls it."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._exchange.abandon(self._over())

    def _wake(self) -> None:
        for line in self._lines:
            line.wake()

    def _over(self) -> AntiphonError:
        return SequenceError(f"the session on {self.address} has ended: open a new one")

    # The life of the session, in one task: a line until it ends, then another.

    async def _run(self) -> None:
        try:
            while (trouble := await self._trouble()) is not None:
                await self._replace(self._line, trouble)
        except AntiphonError as error:
            self._exchange.fail(error)
        except Exception as error:  # for a reason that nobody thought of: whoever sends or receives must hear it
            logger.exception("a session failed")
            self._exchange.fail(AntiphonError(f"the session's own code failed: {error!r}"))
        finally:
            lines, self._lines = self._lines, []
            for line in lines:
                with suppress(Exception):
                    await line.leave()
            if self.totals is None and self._exchange.failure is None:
                self._exchange.fail(self._over())

    async def _trouble(self) -> AntiphonError | None:
        """Waits until the line needs a successor, and says why; None once the session has ended well.

        Raises:
            AntiphonError: the session has ended for good.
        """
        line, reconnect = self._line, self._reconnect
        while not line.ended.done():
            if not reconnect.patience_s:
                await asyncio.wait((line.ended,))
                break
            await asyncio.wait(
                (line.go_away, line.ended), timeout=reconnect.stall_s / 4, return_when=asyncio.FIRST_COMPLETED
            )
            if line.ended.done():
                break
            if line.go_away.done():
                return UnavailableError(line.go_away.result().reason)
            if (stalled_s := line.stalled_s()) > reconnect.stall_s:
                return UnavailableError(f"the worker at {line.call.address} has not answered for {stalled_s:.1f} s")
        return self._check_lost(line.ended.result())

    def _check_lost(self, error: AntiphonError | None) -> AntiphonError | None:
        """The error that a line ended with, where another line can mend it; None where the session is over."""
        if error is None:
            return None
        all_answered = self._exchange.all_answered
        if self._exchange.ending and all_answered:  # nothing is missing but the totals
            self._exchange.close(Totals(self.history.steps))
            return None
        idle = isinstance(error, SessionTimeoutError) and all_answered  # nobody spoke: that is no lost stream
        if not isinstance(error, PASSING) or idle or not self._reconnect.patience_s:
            raise error
        return error

    async def _replace(self, old: Line, trouble: AntiphonError) -> None:
        """Goes on with another line, or with the old one where it has recovered or ended well."""
        began_s = time.perf_counter()
        logger.info("looking for another call: %s", trouble)
        self._on_change(Reconnecting(str(trouble)))
        dialling = asyncio.create_task(self._redial(elsewhere=not old.ended.done()))
        try:
            if await self._goes_on(old, dialling):
                await _give_up(dialling)
                return
            call, self._at = await dialling
        except BaseException:
            await _give_up(dialling)
            raise
        new = self._take_over(call)
        self.resumptions += 1
        self._on_change(Resumed(call.address, time.perf_counter() - began_s, call.opened.rebuilt_steps))
        while new.answered < self.history.steps and not old.ended.done() and not new.ended.done():
            await asyncio.wait((old.ended, new.ended), timeout=CATCHING_UP_S, return_when=asyncio.FIRST_COMPLETED)
        self._lines.remove(old)
        await old.leave()

    async def _goes_on(self, old: Line, dialling: asyncio.Task[tuple[Call, int]]) -> bool:
        """Whether the old line does without a successor before there is one: it has recovered, or ended well."""
        began_s = time.perf_counter()
        stalled = not old.ended.done() and not old.go_away.done()
        answered = old.answered
        while not dialling.done():
            if old.ended.done():
                if self._check_lost(old.ended.result()) is None:
                    return True
                await asyncio.wait((dialling,))
            elif stalled and old.answered > answered:
                self._on_change(Resumed(old.call.address, time.perf_counter() - began_s, 0))
                return True
            else:
                await asyncio.wait((dialling, old.ended), timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
        return False

    async def _dial_any(self) -> Call:
        """The first call, to the first address that takes it."""
        for at, address in enumerate(self._addresses):
            try:
                call = await Call.dial(address, self._opening)
            except PASSING:
                if at == len(self._addresses) - 1:
                    raise
            else:
                self._at = at
                return call
        raise AssertionError("there is an address")

    async def _redial(self, elsewhere: bool) -> tuple[Call, int]:
        """A call that goes on with the session, and which address it is at; `elsewhere`: the last one comes last."""
        start = self._at + elsewhere
        order = [(start + turn) % len(self._addresses) for turn in range(len(self._addresses))]
        by_address = {self._addresses[at]: at for at in order}
        refusals: dict[str, PreconditionError] = {}

        async def attempt(address: str) -> tuple[Call, int]:
            timeout_s, token = self._reconnect.connect_timeout_s, self._line.call.opened.resume_token
            try:
                call = await Call.dial(address, self._opening, self.history, token, timeout_s)
            except PreconditionError as error:  # another model, say: one of the others may have the session's
                refusals[address] = error
                if refusals.keys() == by_address.keys():
                    raise
                raise UnavailableError(str(error)) from error
            return call, by_address[address]

        def waiting(error: AntiphonError, delay_s: float) -> None:
            if delay_s:
                self._on_change(Reconnecting(str(error), delay_s))

        try:
            return await self._reconnect.until_it_works(attempt, list(by_address), waiting)
        except UnavailableError as error:  # of those who might have gone on; who refused has said more
            raise next(iter(refusals.values()), error) from None

    def _take_over(self, call: Call) -> Line:
        """A line over the call, which the session goes on with from now on."""
        self._line = Line(call, self._exchange)
        self._lines.append(self._line)
        self._exchange.in_flight_at_most = self._line.limits.max_frames_in_flight
        return self._line


async def _give_up(dialling: asyncio.Task[tuple[Call, int]]) -> None:
    """Ends an attempt that is not needed any more, even where it has just succeeded."""
    dialling.cancel()
    await asyncio.wait((dialling,))
    if not dialling.cancelled() and dialling.exception() is None:
        await dialling.result()[0].close()
