"""The client for scripts without asyncio: the same session, each method waiting for its result.

with connect("localhost:50051", codec.spec) as session:
    for codes in frames:
        reply = session.exchange(codes)

Several threads may have a session each. All sessions of a process live in one event loop, in a thread that ends with
the process: gRPC does not take it well when loops come and go.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy.typing as npt

from antiphon.errors import SequenceError
from antiphon.history import History
from antiphon.spec import CodecSpec, Limits, ModelSpec, Sampling
from antiphon_edge.client.connect import connect as connect_async
from antiphon_edge.client.events import GoAway, Reply, Totals
from antiphon_edge.client.session import Session as AsyncSession

T = TypeVar("T")

EXIT_S = 3.0  # for the sessions that are still open when the process ends


class _LoopThread:
    """An event loop in a thread of its own, until the process ends."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="antiphon-client", daemon=True)
        self._thread.start()
        self._sessions: set[AsyncSession] = set()
        atexit.register(self._exit)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result; it is cancelled where the waiting is interrupted."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    @contextmanager
    def connected(self, address: str | Sequence[str], codec: CodecSpec, options: dict[str, Any]) -> Iterator[Session]:
        """A session that lives here."""
        context = connect_async(address, codec, **options)
        session = self.run(context.__aenter__())
        self._sessions.add(session)
        try:
            yield Session(session, self)
        finally:
            self._sessions.discard(session)
            if not self._loop.is_closed():
                self.run(context.__aexit__(None, None, None))

    def _exit(self) -> None:
        """Leaves the sessions that are still open, so that no worker keeps their slots."""
        for leaving in [asyncio.run_coroutine_threadsafe(each.abandon(), self._loop) for each in self._sessions]:
            try:
                leaving.result(EXIT_S)
            except Exception:  # noqa: BLE001, S112 - nobody is left to be told
                continue
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(EXIT_S)
        if not self._thread.is_alive():
            self._loop.close()


_starting = threading.Lock()
_running: _LoopThread | None = None


def _loop_thread() -> _LoopThread:
    global _running
    with _starting:
        if _running is None:
            _running = _LoopThread()
        return _running


class Session:
    """A live session whose methods block; `connect` makes it. Use it from one thread at a time."""

    def __init__(self, session: AsyncSession, loop: _LoopThread) -> None:
        self._session = session
        self._loop = loop

    @property
    def model(self) -> ModelSpec:
        """The model that answers."""
        return self._session.model

    @property
    def seed(self) -> int:
        """The seed of this session."""
        return self._session.seed

    @property
    def sampling(self) -> Sampling:
        """How the session's tokens are drawn."""
        return self._session.sampling

    @property
    def id(self) -> str:
        """The worker's name for this session."""
        return self._session.id

    @property
    def prompt_steps(self) -> int:
        """Steps that the model took before the first frame, for its voice and persona."""
        return self._session.prompt_steps

    @property
    def address(self) -> str:
        """Where the session is, or was last."""
        return self._session.address

    @property
    def limits(self) -> Limits:
        """What the worker allows."""
        return self._session.limits

    @property
    def history(self) -> History:
        """The session's tokens so far; it grows while replies come."""
        return self._session.history

    @property
    def resumptions(self) -> int:
        """Times that the session went on in another call."""
        return self._session.resumptions

    @property
    def in_flight(self) -> int:
        """Frames sent whose replies were not received yet."""
        return self._session.in_flight

    @property
    def go_away(self) -> GoAway | None:
        """What the worker said, where it has asked the session to move and the session has not yet."""
        return self._session.go_away

    @property
    def ends_in_s(self) -> float | None:
        """Seconds until the worker ends the session, which goes on nowhere then; None where it may last."""
        return self._session.ends_in_s

    @property
    def totals(self) -> Totals | None:
        """Known once the replies have ended."""
        return self._session.totals

    def send(self, codes: npt.ArrayLike = ()) -> int:
        """As `antiphon_edge.Session.send`, but never waits for room: nobody else could make it.

        Raises:
            SequenceError: `limits.max_frames_in_flight` frames are unanswered; receive replies first.
        """
        if self.in_flight >= self.limits.max_frames_in_flight:
            raise SequenceError(f"send: {self.in_flight} frames are unanswered; receive replies first")
        return self._loop.run(self._session.send(codes))

    def receive(self) -> Reply | None:
        """As `antiphon_edge.Session.receive`."""
        return self._loop.run(self._session.receive())

    def exchange(self, codes: npt.ArrayLike = ()) -> Reply:
        """Sends one frame [user_codebooks] and returns the reply to it.

        Raises:
            SequenceError: replies to earlier frames are under way; receive them first. Or the reply has to wait for
                words: say them first, and `finish_saying`.
        """
        if self._session.starved:
            raise SequenceError("exchange: the worker waits for words; say more, or finish_saying")
        if self.in_flight:
            raise SequenceError(f"exchange: {self.in_flight} replies are under way; receive them first")
        self.send(codes)
        reply = self.receive()
        assert reply is not None, "every frame is answered before the session ends"
        return reply

    def say(self, text: str, speaker: int = 0) -> None:
        """As `antiphon_edge.Session.say`, but never waits for room: nobody else could make it.

        Raises:
            SequenceError: as much waits to be said as the worker takes; exchange frames first.
        """
        if not self._session.has_room_to_say(text):
            raise SequenceError(
                f"say: more than {self.limits.say_bytes} bytes would wait to be said; exchange frames first"
            )
        self._loop.run(self._session.say(text, speaker))

    def finish_saying(self) -> None:
        """As `antiphon_edge.Session.finish_saying`."""
        self._loop.run(self._session.finish_saying())

    def end(self) -> Iterator[Reply]:
        """Says that no more frames will come, and yields the replies still under way."""
        self._loop.run(self._session.end())
        while (reply := self.receive()) is not None:
            yield reply


@contextmanager
def connect(address: str | Sequence[str], codec: CodecSpec, **options: Any) -> Iterator[Session]:
    """Opens a session; arguments and errors are those of `antiphon_edge.connect`."""
    with _loop_thread().connected(address, codec, options) as session:
        yield session
