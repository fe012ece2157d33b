"""Keeps a session on a stream: one after another, for as long as some worker takes it.

One task lives the session's life. Each of its waits has an end: the worker's next sign of life (`Reconnect.stall_s`),
another worker (`Reconnect.patience_s`), the totals of a session that is over (`stall_s`), a call that is left
(`LEAVE_S`). What the session no longer needs (a stream, an attempt that came too late) is left in a task of its own, so
that nobody waits for a worker that is gone; `abandon` waits for all of those.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from antiphon.errors import TAKEN_OVER, AntiphonError, PreconditionError, SessionTimeoutError, UnavailableError
from antiphon.spec import Limits, ModelSpec
from antiphon.to_the_end import to_the_end
from antiphon_edge.client.dialer import Dial, Dialer
from antiphon_edge.client.events import Change, Ending, Reconnecting, Resumed, Totals
from antiphon_edge.client.journal import Journal
from antiphon_edge.client.reconnect import PASSING, Reconnect
from antiphon_edge.client.stream import Stream
from antiphon_edge.transport.call import Call
from antiphon_edge.transport.handshake import Opening

logger = logging.getLogger(__name__)

BACKLOG_S = 2.0  # of live audio, kept while no worker hears it
QUIET_S = 10.0  # a stream on which nobody spoke for so long has proven itself
TAKEOVERS_APART_S = 10.0  # two by another client within that: this side gives the session up
NOTICE_S = 30.0  # before a session's end
SHORTEST_WAIT_S = 0.001  # a deadline that is all but reached


class Carrier:
    """Carries a session's journal over streams, in one task; `open` makes it and the `Session` owns it.

    Args:
        dialer: opens the session's calls.
        call: the first of them.
        reconnect: how to go on when a stream is lost.
        on_change: called when the session looks for another worker, and when it has found one.
    """

    def __init__(self, dialer: Dialer, call: Call, reconnect: Reconnect, on_change: Callable[[Change], None]) -> None:
        self.model = ModelSpec.from_message(call.opened.model)
        self.resumptions = 0
        mode, frame_s = dialer.opening.mode, dialer.opening.codec.frame_s
        limits, backlog = Limits.from_message(call.opened.limits), round(BACKLOG_S / frame_s)
        self.journal = Journal(self.model, limits, backlog, mode, frame_s)
        self._dialer = dialer
        self._reconnect = reconnect
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._taken_over_s = -TAKEOVERS_APART_S  # when another call last took the session
        self._gave_up_s = -TAKEOVERS_APART_S  # when an attempt was last given up, which may reach the worker yet
        self._leaving: set[asyncio.Task[None]] = set()
        dialer.progressed()
        dialer.arrived()
        self.stream = Stream(call, self.journal)  # the one that the session goes on with
        self._streams = [self.stream]  # that one, and the one that it leaves
        self._steps_before = 0  # of the history, when the stream was taken
        self._notice: asyncio.TimerHandle | None = None
        self._announce_end()
        self._task = asyncio.create_task(self._run())

    @classmethod
    async def open(
        cls,
        addresses: Sequence[str],
        opening: Opening,
        reconnect: Reconnect,
        on_change: Callable[[Change], None],
        dial: Dial = Call.dial,
    ) -> Carrier:
        """Opens the first call, to the first address that takes it.

        Args:
            addresses: HOST:PORT of the workers, or of load balancers before them, in the order of preference.
            opening: what every call says first.
            reconnect: how to go on when a stream is lost.
            on_change: called when the session looks for another worker, and when it has found one.
            dial: opens a call.

        Raises:
            AntiphonError: no address took the session; the error is the last one's.
        """
        dialer = Dialer(addresses, opening, reconnect, on_change, dial)
        return cls(dialer, await dialer.first_call(), reconnect, on_change)

    @property
    def address(self) -> str:
        """Where the session is, or was last."""
        return self._dialer.address

    @property
    def opening(self) -> Opening:
        """What every call says first."""
        return self._dialer.opening

    def wake(self) -> None:
        """There is something to send."""
        for stream in self._streams:
            stream.wake()

    async def abandon(self, over: AntiphonError) -> None:
        """Says Close wherever the session is open, and gives back calls, connections and tasks before it returns, even
        where it is cancelled.

        Args:
            over: what a later send or receive raises.
        """
        await to_the_end(self._abandon(over))

    async def _abandon(self, over: AntiphonError) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))
        self._leave_streams()  # a task that is cancelled before its first step runs nothing
        self.journal.abandon(over)
        while self._leaving:
            await asyncio.wait(tuple(self._leaving))

    def _announce_end(self) -> None:
        """Tells the owner `NOTICE_S` before the worker ends the session, where it has said that it will."""
        if self._notice is not None:
            self._notice.cancel()
        if (in_s := self.stream.ends_in_s) is not None:
            left_s = min(in_s, NOTICE_S)
            self._notice = self._loop.call_later(in_s - left_s, self._on_change, Ending(left_s))

    # The life of the session, in one task: a stream until it ends, then another.

    async def _run(self) -> None:
        try:
            while (reason := await self._watch()) is not None:
                await self._replace(self.stream, reason)
        except AntiphonError as error:
            self.journal.fail(error)
        except Exception as error:  # a bug of ours: the next send or receive must raise it
            logger.exception("a session failed")
            self.journal.fail(AntiphonError(f"the session's own code failed: {error!r}"))
        finally:
            self._leave_streams()

    async def _watch(self) -> AntiphonError | None:
        """Waits until the stream needs a successor, and returns why; None once the session has ended well.

        Raises:
            AntiphonError: the session has ended for good.
        """
        stream, stall_s, patient = self.stream, self._reconnect.stall_s, bool(self._reconnect.patience_s)
        signs: list[asyncio.Future[Any]] = [stream.ended, self.journal.finished]
        if patient:
            signs.append(stream.go_away)
        while not stream.ended.done():
            if self.journal.finished.done():
                await self._wait_for_totals()
                return None
            if patient and stream.go_away.done():
                return UnavailableError(stream.go_away.result().reason)
            if (left_s := stall_s - stream.stalled_s()) <= 0:
                stalled = UnavailableError(
                    f"the worker at {stream.call.address} has not answered for {stream.stalled_s():.1f} s"
                )
                if not patient:
                    raise stalled
                return stalled
            await _first_of(signs, left_s)
        error = self._check_final(stream.ended.result())
        if error is not None:
            self._check_owner(error)
        return error

    async def _wait_for_totals(self) -> None:
        """Every frame is answered and no more will come: only the worker's totals are missing, if it has any."""
        await _first_of([stream.ended for stream in self._streams], self._reconnect.stall_s)
        if self.journal.totals is None:
            self.journal.close(Totals(self.journal.history.steps))

    def _check_final(self, error: AntiphonError | None) -> AntiphonError | None:
        """The error that a stream ended with, where another stream can mend it; None where the session is over.

        Raises:
            AntiphonError: it is final.
        """
        if error is None:
            return None
        all_answered = self.journal.all_answered
        if self.journal.finished.done():  # nothing is missing but the totals
            self.journal.close(Totals(self.journal.history.steps))
            return None
        idle = isinstance(error, SessionTimeoutError) and all_answered  # nobody spoke: that is no lost stream
        if not isinstance(error, PASSING) or idle or not self._reconnect.patience_s:
            raise error
        return error

    def _check_owner(self, error: AntiphonError) -> None:
        """Returns unless another client holds the session's token too, and insists.

        Raises:
            PreconditionError: the session was taken twice in a short while: the other client keeps it.
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

    async def _replace(self, old: Stream, reason: AntiphonError) -> None:
        """Goes on with another stream, or with the old one where it has recovered or ended well."""
        began_s = self._loop.time()
        elsewhere, wait_s = not old.ended.done(), 0.0
        if self._has_progressed(old):
            self._dialer.progressed()
        else:
            elsewhere, wait_s = True, self._dialer.failed(reason)
        logger.info("looking for another call: %s", reason)
        self._on_change(Reconnecting(str(reason), wait_s))
        dialling = asyncio.create_task(
            self._dialer.next_call(old.call, self.journal.history, elsewhere=elsewhere, wait_s=wait_s, reason=reason)
        )
        needed = False
        try:
            if await self._needs_no_successor(old, dialling):
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
        self._streams.remove(old)
        self._leave(old.leave())

    def _has_progressed(self, stream: Stream) -> bool:
        """Whether the stream has brought the session on: with a new reply, or by lasting while nobody spoke."""
        if self.journal.history.steps > self._steps_before:
            return True
        return self.journal.all_answered and self._loop.time() - stream.began_s >= QUIET_S

    async def _needs_no_successor(self, old: Stream, dialling: asyncio.Task[Call]) -> bool:
        """Waits for the dialling; True where the session is over, or the old stream has recovered, before it is done.

        Raises:
            AntiphonError: the old stream has ended with a final error.
        """
        began_s = self._loop.time()
        stalled = not old.ended.done() and not old.go_away.done()
        recovered = old.reached(old.answered + 1)
        while not dialling.done():
            if self.journal.finished.done():
                return True
            signs: list[asyncio.Future[Any]] = [dialling, self.journal.finished]
            if old.ended.done():
                if self._check_final(old.ended.result()) is None:
                    return True
            elif stalled and recovered.done():
                self._on_change(Resumed(old.call.address, self._loop.time() - began_s, 0))
                return True
            else:
                signs += [old.ended, recovered] if stalled else [old.ended]
            await asyncio.wait(signs, return_when=asyncio.FIRST_COMPLETED)  # the dialling has its own end
        return False

    async def _catch_up(self, old: Stream, new: Stream) -> None:
        """Waits until the new stream has the replies of the old one, or one of them is of no use."""
        while (steps := self.journal.history.steps) > new.answered and not (old.ended.done() or new.ended.done()):
            if (left_s := self._reconnect.stall_s - new.stalled_s()) <= 0:
                return
            await _first_of([new.reached(steps), old.ended, new.ended], left_s)

    def _take_over(self, call: Call) -> Stream:
        """A stream over the call, which the session goes on with from now on."""
        self.stream = Stream(call, self.journal)
        self._streams.append(self.stream)
        self._dialer.arrived()
        self._announce_end()
        self._steps_before = self.journal.history.steps
        self.journal.max_in_flight = self.stream.limits.max_frames_in_flight
        self.journal.say_bytes = self.stream.limits.say_bytes
        return self.stream

    def _leave_streams(self) -> None:
        if self._notice is not None:
            self._notice.cancel()
        streams, self._streams = self._streams, []
        for stream in streams:
            self._leave(stream.leave())

    def _leave(self, leaving: Coroutine[Any, Any, None]) -> None:
        """Runs `leaving` in a task of its own, for which only `abandon` waits."""
        task = asyncio.create_task(leaving)
        self._leaving.add(task)
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._leaving.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.info("a call could not be left in good order: %r", error)


async def _first_of(signs: Sequence[asyncio.Future[Any]], within_s: float) -> None:
    await asyncio.wait(signs, timeout=max(within_s, SHORTEST_WAIT_S), return_when=asyncio.FIRST_COMPLETED)


async def _give_up(dialling: asyncio.Task[Call]) -> None:
    """Ends an attempt that is not needed any more, even where it has just succeeded."""
    dialling.cancel()
    await asyncio.wait((dialling,))
    if not dialling.cancelled() and dialling.exception() is None:
        await dialling.result().abandon()
