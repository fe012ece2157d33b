"""What carries a session: lines over calls, one after another, for as long as somebody takes it.

One task lives the session's life. Whatever it waits for has an end: the worker's next sign of life
(`Reconnect.stall_s`), another worker (`Reconnect.patience_s`), the totals of a session that is over (`stall_s`), a call
that is left (`LEAVE_S`). What it no longer needs (a line, an attempt that came too late) is left beside it, so that
nobody waits for a worker that is gone; `abandon` waits for all of that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from antiphon.errors import TAKEN_OVER, AntiphonError, PreconditionError, SessionTimeoutError, UnavailableError
from antiphon.history import History
from antiphon.spec import Limits, ModelSpec
from antiphon_edge.client.events import Change, Reconnecting, Resumed, Totals
from antiphon_edge.client.journal import Exchange
from antiphon_edge.client.reconnect import PASSING, Attempts, Reconnect
from antiphon_edge.client.stream import Line
from antiphon_edge.transport.call import Call, Opening
from antiphon_edge.transport.channel import CONNECT_TIMEOUT_S
from antiphon_edge.transport.opened import check_same_model
from antiphon_edge.transport.to_the_end import to_the_end

logger = logging.getLogger(__name__)

BACKLOG_S = 2.0  # of live audio, kept while no worker hears it
QUIET_S = 10.0  # a line on which nobody spoke for so long has proven itself
TAKEOVERS_APART_S = 10.0  # two by somebody else within that are a quarrel, which this side gives up
SHORTEST_WAIT_S = 0.001  # a deadline that is all but reached


Dial = Callable[[str, Opening, History | None, bytes, float], Awaitable[Call]]
"""`Call.dial`, or what stands for it in a test: address, opening, history, resume token, seconds to connect in."""


class Carrier:
    """Keeps an exchange on a line; `open` makes both.

    Args:
        addresses: HOST:PORT of the workers, or of load balancers before them, in the order of preference.
        opening: what every call says first.
        reconnect: how to go on when a stream is lost.
        on_change: told when the session looks for another worker, and when it has found one.
        dial: opens a call.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        opening: Opening,
        reconnect: Reconnect,
        on_change: Callable[[Change], None],
        dial: Dial = Call.dial,
    ) -> None:
        self.resumptions = 0
        self.model: ModelSpec
        self.exchange: Exchange
        self.opening = opening
        self.line: Line  # the one that the session goes on with
        self._addresses = list(addresses)
        self._at = 0  # which of them the session is at
        self._next = 0  # which of them is tried next
        self._reconnect = reconnect
        self._on_change = on_change
        self._dial = dial
        self._attempts = Attempts(reconnect, len(self._addresses))
        self._loop = asyncio.get_running_loop()
        self._lines: list[Line] = []  # that one, and the one that it leaves
        self._steps_before = 0  # of the history, when the line was taken
        self._taken_over_s = -TAKEOVERS_APART_S  # when another call last took the session
        self._gave_up_s = -TAKEOVERS_APART_S  # when an attempt was last given up, which may reach the worker yet
        self._leaving: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Where the session is, or was last."""
        return self._addresses[self._at]

    async def open(self) -> None:
        """The first call, to the first address that takes it.

        Raises:
            AntiphonError: no address took the session; the error is the last one's.
        """
        call = await self._dial_any()
        self.model = ModelSpec.from_message(call.opened.model)
        self.opening = self.opening.with_sampling(self.model.sampling)
        backlog = round(BACKLOG_S / self.opening.codec.frame_s)
        self.exchange = Exchange(self.model, Limits.from_message(call.opened.limits), backlog)
        self._attempts.begin(self._loop.time())
        self._take_over(call)
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """There is something to send."""
        for line in self._lines:
            line.wake()

    async def abandon(self, over: AntiphonError) -> None:
        """Says Close wherever the session is open, and gives back calls, connections and tasks before it returns, even
        where it is cancelled.

        Args:
            over: what whoever sends or receives after that is told.
        """
        if self._task is not None:
            await to_the_end(self._abandon(self._task, over))

    async def _abandon(self, life: asyncio.Task[None], over: AntiphonError) -> None:
        life.cancel()
        await asyncio.wait((life,))
        self._leave_lines()  # a task that is cancelled before its first step runs nothing
        self.exchange.abandon(over)
        while self._leaving:
            await asyncio.wait(tuple(self._leaving))

    # The life of the session, in one task: a line until it ends, then another.

    async def _run(self) -> None:
        try:
            while (trouble := await self._trouble()) is not None:
                await self._replace(self.line, trouble)
        except AntiphonError as error:
            self.exchange.fail(error)
        except Exception as error:  # for a reason that nobody thought of: whoever sends or receives must hear it
            logger.exception("a session failed")
            self.exchange.fail(AntiphonError(f"the session's own code failed: {error!r}"))
        finally:
            self._leave_lines()

    async def _trouble(self) -> AntiphonError | None:
        """Waits until the line needs a successor, and says why; None once the session has ended well.

        Raises:
            AntiphonError: the session has ended for good.
        """
        line, stall_s, patient = self.line, self._reconnect.stall_s, bool(self._reconnect.patience_s)
        signs: list[asyncio.Future[Any]] = [line.ended, self.exchange.finished]
        if patient:
            signs.append(line.go_away)
        while not line.ended.done():
            if self.exchange.finished.done():
                await self._take_leave()
                return None
            if patient and line.go_away.done():
                return UnavailableError(line.go_away.result().reason)
            if (left_s := stall_s - line.stalled_s()) <= 0:
                stalled = UnavailableError(
                    f"the worker at {line.call.address} has not answered for {line.stalled_s():.1f} s"
                )
                if not patient:
                    raise stalled
                return stalled
            await self._first_of(signs, left_s)
        error = self._check_lost(line.ended.result())
        if error is not None:
            self._check_owner(error)
        return error

    async def _take_leave(self) -> None:
        """Every frame is answered and no more will come: only the worker's totals are missing, if it has any."""
        await self._first_of([line.ended for line in self._lines], self._reconnect.stall_s)
        if self.exchange.totals is None:
            self.exchange.close(Totals(self.exchange.history.steps))

    def _check_lost(self, error: AntiphonError | None) -> AntiphonError | None:
        """The error that a line ended with, where another line can mend it; None where the session is over."""
        if error is None:
            return None
        all_answered = self.exchange.all_answered
        if self.exchange.finished.done():  # nothing is missing but the totals
            self.exchange.close(Totals(self.exchange.history.steps))
            return None
        idle = isinstance(error, SessionTimeoutError) and all_answered  # nobody spoke: that is no lost stream
        if not isinstance(error, PASSING) or idle or not self._reconnect.patience_s:
            raise error
        return error

    def _check_owner(self, error: AntiphonError) -> None:
        """Returns unless somebody else holds the session's token too, and insists.

        Raises:
            PreconditionError: the session was taken twice in a short while: it is left to the other one.
        """
        now_s = self._loop.time()
        if not str(error).startswith(TAKEN_OVER) or now_s - self._gave_up_s < TAKEOVERS_APART_S:
            return
        before_s, self._taken_over_s = self._taken_over_s, now_s
        if now_s - before_s < TAKEOVERS_APART_S:
            reason = (
                f"another client took this session over twice on the worker at {self.address}: two clients hold one "
                "session; open a new one"
            )
            logger.warning("%s", reason)
            raise PreconditionError(reason)

    async def _replace(self, old: Line, trouble: AntiphonError) -> None:
        """Goes on with another line, or with the old one where it has recovered or ended well."""
        began_s = self._loop.time()
        elsewhere, wait_s = not old.ended.done(), 0.0
        if self._got_on(old):
            self._attempts.begin(began_s)
        else:
            elsewhere, wait_s = True, self._attempts.failed(trouble, began_s)
        self._next = (self._at + elsewhere) % len(self._addresses)
        logger.info("looking for another call: %s", trouble)
        self._on_change(Reconnecting(str(trouble), wait_s))
        dialling = asyncio.create_task(self._redial(wait_s, trouble))
        needed = False
        try:
            if await self._goes_on(old, dialling):
                return
            call, needed = dialling.result(), True
        finally:
            if not needed:
                self._gave_up_s = self._loop.time()
                self._leave(_give_up(dialling))
        new = self._take_over(call)
        self.resumptions += 1
        self._on_change(Resumed(call.address, self._loop.time() - began_s, call.opened.rebuilt_steps))
        await self._catch_up(old, new)
        self._lines.remove(old)
        self._leave(old.leave())

    def _got_on(self, line: Line) -> bool:
        """Whether the line has brought the session on: with a new reply, or by being there while nobody spoke."""
        if self.exchange.history.steps > self._steps_before:
            return True
        return self.exchange.all_answered and self._loop.time() - line.began_s >= QUIET_S

    async def _goes_on(self, old: Line, dialling: asyncio.Task[Call]) -> bool:
        """Whether the session does without a successor before there is one: it is over, or the old line has
        recovered."""
        began_s = self._loop.time()
        stalled = not old.ended.done() and not old.go_away.done()
        recovered = old.reached(old.answered + 1)
        while not dialling.done():
            if self.exchange.finished.done():
                return True
            signs: list[asyncio.Future[Any]] = [dialling, self.exchange.finished]
            if old.ended.done():
                if self._check_lost(old.ended.result()) is None:
                    return True
            elif stalled and recovered.done():
                self._on_change(Resumed(old.call.address, self._loop.time() - began_s, 0))
                return True
            else:
                signs += [old.ended, recovered] if stalled else [old.ended]
            await asyncio.wait(signs, return_when=asyncio.FIRST_COMPLETED)  # the dialling has its own end
        return False

    async def _catch_up(self, old: Line, new: Line) -> None:
        """Waits until the new line has the replies of the old one, or one of them is of no use."""
        while (steps := self.exchange.history.steps) > new.answered and not (old.ended.done() or new.ended.done()):
            if (left_s := self._reconnect.stall_s - new.stalled_s()) <= 0:
                return
            await self._first_of([new.reached(steps), old.ended, new.ended], left_s)

    async def _first_of(self, signs: Sequence[asyncio.Future[Any]], within_s: float) -> None:
        timeout_s = max(within_s, SHORTEST_WAIT_S)
        await asyncio.wait(signs, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)

    async def _dial_any(self) -> Call:
        """The first call, to the first address that takes it."""
        for at, address in enumerate(self._addresses):
            try:
                call = await self._dial(address, self.opening, None, b"", CONNECT_TIMEOUT_S)
            except PASSING:
                if at == len(self._addresses) - 1:
                    raise
            else:
                self._next = at
                return call
        raise AssertionError("there is an address")

    async def _redial(self, wait_s: float, trouble: AntiphonError) -> Call:
        """A call that goes on with the session, before the patience is over.

        Raises:
            AntiphonError: a final one, or the last one when the patience was over.
        """
        last = trouble
        refusals: dict[str, PreconditionError] = {}  # another model, say: another address may have the session's
        try:
            async with asyncio.timeout_at(self._attempts.until_s):
                while True:
                    await asyncio.sleep(wait_s)
                    address = self._addresses[self._next]
                    try:
                        return await self._dial_on(address)
                    except PreconditionError as error:
                        refusals[address] = error
                        if refusals.keys() == set(self._addresses):
                            raise
                        last = error
                    except PASSING as error:
                        last = error
                    self._next = (self._next + 1) % len(self._addresses)
                    if wait_s := self._attempts.failed(last, self._loop.time()):
                        self._on_change(Reconnecting(str(last), wait_s))
        except (TimeoutError, *PASSING):  # of those who might have gone on; who refused has said more
            raise next(iter(refusals.values()), last) from None

    async def _dial_on(self, address: str) -> Call:
        """A call to `address` that goes on with the session."""
        token, timeout_s = self.line.call.opened.resume_token, self._reconnect.connect_timeout_s
        call = await self._dial(address, self.opening, self.exchange.history, token, timeout_s)
        try:
            check_same_model(self.model, call.opened, address)
        except AntiphonError:
            await to_the_end(call.abandon())
            raise
        return call

    def _take_over(self, call: Call) -> Line:
        """A line over the call, which the session goes on with from now on."""
        self.line = Line(call, self.exchange)
        self._lines.append(self.line)
        self._at = self._next
        self._steps_before = self.exchange.history.steps
        self.exchange.in_flight_at_most = self.line.limits.max_frames_in_flight
        return self.line

    def _leave_lines(self) -> None:
        lines, self._lines = self._lines, []
        for line in lines:
            self._leave(line.leave())

    def _leave(self, leaving: Coroutine[Any, Any, None]) -> None:
        """Lets go of something, beside whatever comes next."""
        task = asyncio.create_task(leaving)
        self._leaving.add(task)
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._leaving.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.info("a call could not be left in good order: %r", error)


async def _give_up(dialling: asyncio.Task[Call]) -> None:
    """Ends an attempt that is not needed any more, even where it has just succeeded."""
    dialling.cancel()
    await asyncio.wait((dialling,))
    if not dialling.cancelled() and dialling.exception() is None:
        await dialling.result().abandon()
