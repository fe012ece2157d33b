"""The client for scripts without asyncio: the same session, each method waiting for its result.

with connect("localhost:50051", codec.spec) as session:
    for codes in frames:
        reply = session.exchange(codes)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from antiphon.codes import Codes
from antiphon.errors import SequenceError
from antiphon.spec import CodecSpec, Limits, ModelSpec
from antiphon_edge import client

T = TypeVar("T")


class _LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="antiphon-client", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Session:
    """A live session whose methods block; `connect` makes it. Use it from one thread at a time."""

    def __init__(self, session: client.Session, loop: _LoopThread) -> None:
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
    def id(self) -> str:
        """The worker's name for this session."""
        return self._session.id

    @property
    def limits(self) -> Limits:
        """What the worker allows."""
        return self._session.limits

    @property
    def in_flight(self) -> int:
        """Frames sent and not yet answered."""
        return self._session.in_flight

    @property
    def go_away(self) -> client.GoAway | None:
        """Set once the worker has asked this session to move."""
        return self._session.go_away

    @property
    def totals(self) -> client.Totals | None:
        """Known once the replies have ended."""
        return self._session.totals

    def send(self, codes: Codes) -> int:
        """As `client.Session.send`, but never waits for room: nobody else could make it.

        Raises:
            SequenceError: `limits.max_frames_in_flight` frames are unanswered; receive replies first.
        """
        if self.in_flight >= self.limits.max_frames_in_flight:
            raise SequenceError(f"send: {self.in_flight} frames are unanswered; receive replies first")
        return self._loop.run(self._session.send(codes))

    def receive(self) -> client.Reply | None:
        """As `client.Session.receive`."""
        return self._loop.run(self._session.receive())

    def exchange(self, codes: Codes) -> client.Reply:
        """Sends one frame [user_codebooks] and returns the reply to it.

        Raises:
            SequenceError: replies to earlier frames are under way; receive them first.
        """
        if self.in_flight:
            raise SequenceError(f"exchange: {self.in_flight} replies are under way; receive them first")
        self.send(codes)
        reply = self.receive()
        assert reply is not None, "every frame is answered before the session ends"
        return reply

    def end(self) -> Iterator[client.Reply]:
        """Says that no more frames will come, and yields the replies still under way."""
        self._loop.run(self._session.end())
        while (reply := self.receive()) is not None:
            yield reply


@contextmanager
def connect(address: str, codec: CodecSpec, **options: Any) -> Iterator[Session]:
    """Opens a session; arguments and errors are those of `client.connect`."""
    loop = _LoopThread()
    try:
        context = client.connect(address, codec, **options)
        session = loop.run(context.__aenter__())
        try:
            yield Session(session, loop)
        except BaseException as error:
            if not loop.run(context.__aexit__(type(error), error, error.__traceback__)):
                raise
        else:
            loop.run(context.__aexit__(None, None, None))
    finally:
        loop.stop()
