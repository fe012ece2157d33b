"""Which worker is asked next to carry a session, when, and for how long: the addresses and the attempts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from antiphon.errors import AntiphonError, ClientLimitError, PreconditionError
from antiphon.history import History
from antiphon.to_the_end import to_the_end
from antiphon_edge.client.events import Change, Reconnecting
from antiphon_edge.client.reconnect import PASSING, Reconnect
from antiphon_edge.transport.call import Call
from antiphon_edge.transport.channel import CONNECT_TIMEOUT_S
from antiphon_edge.transport.handshake import Opening, check_same_model

Dial = Callable[[str, Opening, History | None, bytes, float], Awaitable[Call]]
"""`Call.dial`, or what stands for it in a test: address, opening, history, resume token, seconds to connect in."""


class Dialer:
    """Opens the calls of one session; its `Carrier` owns it.

    Args:
        addresses: HOST:PORT of the workers, or of load balancers before them, in the order of preference.
        opening: what the first call says first.
        reconnect: how long to wait between attempts, and when to give up.
        on_change: called with `Reconnecting` before each wait.
        dial: opens a call.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        opening: Opening,
        reconnect: Reconnect,
        on_change: Callable[[Change], None],
        dial: Dial,
    ) -> None:
        self.opening = opening
        """What every call says first; after the first call with what the worker chose."""
        self._addresses = list(addresses)
        self._at = 0  # which of them the session is at
        self._next = 0  # which of them is tried next
        self._reconnect = reconnect
        self._on_change = on_change
        self._dial = dial
        self._loop = asyncio.get_running_loop()
        self._failures = 0  # since the session's last progress
        self._until_s = 0.0  # when the patience is over

    @property
    def address(self) -> str:
        """Where the session is, or was last."""
        return self._addresses[self._at]

    def arrived(self) -> None:
        """The session goes on with the call that was opened last."""
        self._at = self._next

    def progressed(self) -> None:
        """The session was getting on until now: the patience is whole again, and nothing has failed."""
        self._failures = 0
        self._until_s = self._loop.time() + self._reconnect.patience_s

    def failed(self, error: AntiphonError) -> float:
        """Counts a failure and returns the seconds to wait before the next attempt.

        Raises:
            AntiphonError: the patience is over; it is `error`.
        """
        now_s = self._loop.time()
        if now_s >= self._until_s:
            raise error
        self._failures += 1
        # Every address is tried once before the first wait, but for a limit that all of them have.
        first_round = 0 if isinstance(error, ClientLimitError) else self._failures - len(self._addresses)
        delay_s = self._reconnect.delay_s(max(first_round, self._failures - len(self._addresses)), error)
        return min(delay_s, self._until_s - now_s)

    async def first_call(self) -> Call:
        """The first call, to the first address that takes it.

        Raises:
            AntiphonError: no address took the session; the error is the last one's.
        """
        for at, address in enumerate(self._addresses):
            try:
                call = await self._dial(address, self.opening, None, b"", CONNECT_TIMEOUT_S)
            except ClientLimitError:
                raise  # which every worker has
            except PASSING:
                if at == len(self._addresses) - 1:
                    raise
            else:
                self._next = at
                self.opening = self.opening.settled(call.opened)
                return call
        raise AssertionError("there is an address")

    async def next_call(
        self, old: Call, history: History, *, elsewhere: bool, wait_s: float, reason: AntiphonError
    ) -> Call:
        """A call that goes on with the session of `old`, before the patience is over.

        Args:
            old: the session's last call.
            history: the session's tokens, which grow meanwhile.
            elsewhere: begin with the next address rather than with the session's.
            wait_s: before the first attempt.
            reason: why another call is needed.

        Raises:
            AntiphonError: a final one, or the last one when the patience was over.
        """
        self._next = (self._at + elsewhere) % len(self._addresses)
        last = reason
        refusals: dict[str, PreconditionError] = {}  # another model, say: another address may have the session's
        try:
            async with asyncio.timeout_at(self._until_s):
                while True:
                    await asyncio.sleep(wait_s)
                    address = self._addresses[self._next]
                    try:
                        return await self._resume(address, old, history)
                    except PreconditionError as error:
                        refusals[address] = error
                        if refusals.keys() == set(self._addresses):
                            raise
                        last = error
                    except PASSING as error:
                        last = error
                    if not isinstance(last, ClientLimitError):  # which every worker has
                        self._next = (self._next + 1) % len(self._addresses)
                    if wait_s := self.failed(last):
                        self._on_change(Reconnecting(str(last), wait_s))
        except (TimeoutError, *PASSING):  # a refusal says more than a worker that was not reached
            raise next(iter(refusals.values()), last) from None

    async def _resume(self, address: str, old: Call, history: History) -> Call:
        token, timeout_s = old.opened.resume_token, self._reconnect.connect_timeout_s
        call = await self._dial(address, self.opening, history, token, timeout_s)
        try:
            check_same_model(old.opened.model, call.opened.model, address)
        except AntiphonError:
            await to_the_end(call.abandon())
            raise
        return call
