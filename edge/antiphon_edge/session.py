"""A session: frames in, replies out, whatever becomes of the streams that carry it.

The session owns the conversation: the frames that are not answered yet, and the tokens of those that are (`History`).
A call carries it. When the stream breaks or stalls, or the worker asks the edge to go, the session opens another call
with its history, sends the unanswered frames again and goes on. While two calls carry it, both get the frames, and the
first reply to each counts; the old call goes when the new one has caught up, so that nobody hears a gap.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from antiphon.codes import Codes
from antiphon.errors import AntiphonError, SequenceError, SessionTimeoutError, UnavailableError
from antiphon.history import History, fewest_steps
from antiphon.spec import Limits, ModelSpec, Sampling
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.call import Call, Opening
from antiphon_edge.line import Line
from antiphon_edge.reconnect import PASSING, Reconnect
from antiphon_edge.replies import Change, GoAway, Reconnecting, Reply, Resumed, Totals

logger = logging.getLogger(__name__)

NUMBERED_EVERY = 256  # frames between two that carry their number: 20 s, for 0.2 bytes/s
BACKLOG_S = 2.0  # of live audio, kept while no worker hears it


@dataclass(frozen=True, slots=True)
class _Frame:
    codes: bytes
    given_s: float


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
        self.id = ""
        self.seed = opening.seed
        self.model: ModelSpec
        self.limits: Limits
        self.history: History
        """The session's tokens so far."""
        self.go_away: GoAway | None = None
        self.totals: Totals | None = None
        self.resumptions = 0
        """Times that the session went on in another call."""
        self.dropped_frames = 0
        """Live frames that were never sent, because no worker was there to hear them."""
        self._addresses = list(addresses)
        self._at = 0  # which of them
        self._opening = opening
        self._reconnect = reconnect
        self._on_change = on_change
        self._resume_token = b""
        self._frames: deque[_Frame] = deque()  # unanswered, from number history.steps on; bounded by `send`
        self._sent = 0  # frames below this number have been on their way at least once
        self._replies: deque[Reply] = deque()  # not taken yet; bounded as the frames
        self._room = asyncio.Event()  # a reply was taken, or the session ended
        self._news = asyncio.Event()  # a reply came, or the session ended
        self._ending = False
        self._failure: AntiphonError | None = None
        self._lines: list[Line] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Where the session is, or was last."""
        return self._addresses[self._at]

    @property
    def sampling(self) -> Sampling:
        """How the session's tokens are drawn."""
        assert self._opening.sampling is not None, "the session is open"
        return self._opening.sampling

    @property
    def in_flight(self) -> int:
        """Frames sent whose replies were not taken yet."""
        return len(self._frames) + len(self._replies)

    async def open(self) -> None:
        """The first call; `client.connect` opens it.

        Raises:
            AntiphonError: no address took the session; the error is the last one's.
        """
        call = await self._dial_any()
        self.model = ModelSpec.from_message(call.opened.model)
        self._take_over(call)
        self.history = History(self.model, max(self.limits.history_steps, fewest_steps(self.model)))
        self._opening = self._opening.with_sampling(self.model.sampling)
        self._user_packer = self.model.user_packer
        self._model_packer = self.model.model_packer
        self._backlog = round(BACKLOG_S / self._opening.codec.frame_s)
        self._task = asyncio.create_task(self._run(self._carry(call)))

    async def send(self, codes: Codes) -> int:
        """Sends one frame of user codes [user_codebooks] and returns its sequence number; waits for room.

        While no worker is there, frames are kept and sent later.

        Raises:
            CodesError: codes of a wrong shape or out of range; nothing was sent.
            AntiphonError: the session has ended; the error says why.
        """
        packed = self._user_packer.pack(codes)
        self._check_sending()
        while self.in_flight >= self.limits.max_frames_in_flight:
            self._room.clear()
            await self._room.wait()
            self._check_sending()
        return self._give(packed)

    def send_live(self, codes: Codes) -> None:
        """Sends one frame of user codes [user_codebooks] and never waits: while no worker hears them, the last 2 s of
        frames are kept, and older ones dropped and counted.

        Raises:
            CodesError: codes of a wrong shape or out of range; nothing was sent.
            AntiphonError: the session has ended; the error says why.
        """
        packed = self._user_packer.pack(codes)
        self._check_sending()
        unsent = self.history.steps + len(self._frames) - self._sent
        if unsent >= self._backlog:
            del self._frames[self._sent - self.history.steps]  # what was sent once is sent again: the worker knows it
            self.dropped_frames += 1
        self._give(packed)

    async def receive(self) -> Reply | None:
        """The next reply; None after the last one, when `totals` is known.

        Raises:
            AntiphonError: the session has ended; the error says why.
        """
        while not self._replies:
            if self._failure is not None:
                raise self._failure
            if self.totals is not None:
                return None
            self._news.clear()
            await self._news.wait()
        self._room.set()
        return self._replies.popleft()

    async def __aiter__(self) -> AsyncIterator[Reply]:
        while (reply := await self.receive()) is not None:
            yield reply

    async def end(self) -> None:
        """Says that no more frames will come; the replies under way still do."""
        if self._failure is not None:
            raise self._failure
        self._ending = True
        self._wake()

    async def abandon(self) -> None:
        """Leaves the session, wherever it stands; `client.connect` calls it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._ending = True
        self._replies.clear()
        self._fail(SequenceError(f"the session on {self.address} has ended: open a new one"))

    def _check_sending(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._ending:
            raise SequenceError("send after end: open a new session")

    def _give(self, packed: bytes) -> int:
        self._frames.append(_Frame(packed, time.perf_counter()))
        self._wake()
        return self.history.steps + len(self._frames) - 1

    def _wake(self) -> None:
        for line in self._lines:
            line.work.set()

    def _fail(self, error: AntiphonError) -> None:
        self._failure = error
        self._news.set()
        self._room.set()

    # The life of the session, in one task: a line until it ends, then another.

    async def _run(self, line: Line) -> None:
        try:
            while (trouble := await self._trouble(line)) is not None:
                line = await self._replace(line, trouble)
        except AntiphonError as error:
            self._fail(error)
        finally:
            lines, self._lines = self._lines, []
            for line in lines:
                with suppress(Exception):
                    await line.leave()
            if self.totals is None and self._failure is None:
                self._fail(SequenceError(f"the session on {self.address} has ended: open a new one"))

    async def _trouble(self, line: Line) -> AntiphonError | None:
        """Waits until the line needs a successor, and says why; None once the session has ended well.

        Raises:
            AntiphonError: the session has ended for good.
        """
        going = asyncio.create_task(line.go_away.wait())
        try:
            while True:
                await asyncio.wait(
                    (going, line.ended), timeout=self._reconnect.stall_s / 4, return_when=asyncio.FIRST_COMPLETED
                )
                if line.ended.done():
                    return self._check_lost(line.ended.result())
                if not self._reconnect.patience_s:
                    if going.done():
                        await line.ended
                    continue
                if going.done():
                    assert self.go_away is not None
                    return UnavailableError(self.go_away.reason)
                if (stalled_s := line.stalled_s()) > self._reconnect.stall_s:
                    return UnavailableError(f"the worker at {line.call.address} has not answered for {stalled_s:.1f} s")
        finally:
            going.cancel()

    def _check_lost(self, error: AntiphonError | None) -> AntiphonError | None:
        """The error that a line ended with, where another line can mend it; None where the session is over."""
        if error is None:
            return None
        if self._ending and not self._frames:  # nothing is missing but the totals
            self._close(Totals(self.history.steps))
            return None
        idle = isinstance(error, SessionTimeoutError) and not self._frames  # nobody spoke: that is no lost stream
        if not isinstance(error, PASSING) or idle or not self._reconnect.patience_s:
            raise error
        return error

    async def _replace(self, old: Line, trouble: AntiphonError) -> Line:
        """The line that the session goes on with: a new one, or the old one where it has recovered or ended well."""
        began_s = time.perf_counter()
        logger.info("looking for another call: %s", trouble)
        self._on_change(Reconnecting(str(trouble)))
        dialling = asyncio.create_task(self._redial(elsewhere=not old.ended.done()))
        try:
            if await self._goes_on(old, dialling):
                await _give_up(dialling)
                return old
            call, self._at = await dialling
        except BaseException:
            dialling.cancel()
            raise
        self._take_over(call)
        new = self._carry(call)
        self.resumptions += 1
        self._on_change(Resumed(call.address, time.perf_counter() - began_s, call.opened.rebuilt_steps))
        while new.answered < self.history.steps and not old.ended.done() and not new.ended.done():
            await asyncio.wait((old.ended, new.ended), timeout=0.02, return_when=asyncio.FIRST_COMPLETED)
        self._lines.remove(old)
        await old.leave()
        return new

    async def _goes_on(self, old: Line, dialling: asyncio.Task[tuple[Call, int]]) -> bool:
        """Whether the old line does without a successor before there is one: it has recovered, or ended well."""
        began_s = time.perf_counter()
        stalled = not old.ended.done() and not old.go_away.is_set()
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

        async def attempt(address: str) -> tuple[Call, int]:
            timeout_s = self._reconnect.connect_timeout_s
            call = await Call.dial(address, self._opening, self.history, self._resume_token, timeout_s)
            return call, by_address[address]

        def waiting(error: AntiphonError, delay_s: float) -> None:
            if delay_s:
                self._on_change(Reconnecting(str(error), delay_s))

        return await self._reconnect.until_it_works(attempt, list(by_address), waiting)

    def _take_over(self, call: Call) -> None:
        self.id = call.opened.session_id
        self.limits = Limits.from_message(call.opened.limits)
        self._resume_token = call.opened.resume_token
        self.go_away = None

    # One line: a task that writes, and one that reads.

    def _carry(self, call: Call) -> Line:
        line = Line(call, call.opened.step_offset)
        self._lines.append(line)
        line.tasks = [asyncio.create_task(self._write(line)), asyncio.create_task(self._read(line))]
        for task in line.tasks:
            task.add_done_callback(line.check)
        return line

    async def _write(self, line: Line) -> None:
        try:
            while True:
                line.work.clear()
                end = self.history.steps + len(self._frames)
                while line.sent < min(end, line.answered + self.limits.max_frames_in_flight):
                    await line.call.write(self._request(line, line.sent))
                    end = self.history.steps + len(self._frames)
                if self._ending and line.sent == end and not line.closing:
                    line.closing = True
                    await line.call.write(pb.ConverseRequest(close=pb.Close()))
                await line.work.wait()
        except AntiphonError as error:
            line.end(error)

    def _request(self, line: Line, sequence: int) -> pb.ConverseRequest:
        """The message of a frame that is about to be sent."""
        behind = self.history.steps - sequence  # frames that another line has answered meanwhile
        codes = self.history.user_codes(sequence) if behind > 0 else self._frames[-behind].codes
        request = pb.ConverseRequest(codes=codes)
        if sequence % NUMBERED_EVERY == 0 or sequence == line.first:
            request.sequence = sequence
        if line.sent == line.answered:
            line.moved_s = time.perf_counter()
        line.sent += 1
        self._sent = max(self._sent, line.sent)
        return request

    async def _read(self, line: Line) -> None:
        try:
            while True:
                response = await line.call.read()
                match response.WhichOneof("control"):
                    case None:
                        self._accept(line, response)
                    case "go_away":
                        self.go_away = GoAway(response.go_away.reason, response.go_away.time_left_ms / 1000)
                        logger.info("%s; %.0f s left", self.go_away.reason, self.go_away.time_left_s)
                        line.go_away.set()
                    case "closed":
                        timings = response.closed.timings
                        self._close(Totals(response.closed.frames, list(timings.wait_us), list(timings.step_us)))
                        line.end(None)
                        return
        except AntiphonError as error:
            line.end(error)

    def _close(self, totals: Totals) -> None:
        self.totals = totals
        self._news.set()

    def _accept(self, line: Line, message: pb.ConverseResponse) -> None:
        """Takes a reply; one that another line has brought already is passed over."""
        sequence = line.answered
        if line.answered == line.sent or (message.HasField("sequence") and message.sequence != sequence):
            answered = message.sequence if message.HasField("sequence") else sequence
            raise SequenceError(
                f"the worker at {line.call.address} answered frame {answered} out of turn: open a new session"
            )
        line.answered += 1
        line.moved_s = time.perf_counter()
        line.work.set()
        if sequence < self.history.steps:
            return
        reply = self._reply(sequence, message, time.perf_counter() - self._frames[0].given_s)
        self.history.append(self._frames.popleft().codes, reply.text_token, message.codes)
        self._replies.append(reply)
        self._news.set()

    def _reply(self, sequence: int, message: pb.ConverseResponse, round_trip_s: float) -> Reply:
        if sequence < self.model.delay_steps:
            return Reply(sequence, None, None, "", round_trip_s)
        return Reply(
            sequence,
            self._model_packer.unpack(message.codes) if self.model.model_codebooks else None,
            message.text_token if message.HasField("text_token") else self.model.text_padding_token,
            message.text,
            round_trip_s,
        )


async def _give_up(dialling: asyncio.Task[tuple[Call, int]]) -> None:
    """Ends an attempt that is not needed any more, even where it has just succeeded."""
    dialling.cancel()
    await asyncio.wait((dialling,))
    if not dialling.cancelled() and dialling.exception() is None:
        await dialling.result()[0].close()
