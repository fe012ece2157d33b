"""The gate that every call passes before it costs anything. It identifies the caller, limits the rate and number of
its calls, and bounds how long a call may take.

The service handles every call as a stream: so it is counted before its first message, and a message that never comes
holds nothing. If a client does not read, gRPC keeps its call after our side has ended. Such a call keeps its place, so
these are bounded too.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health

from antiphon.errors import AntiphonError, ProtocolError, SessionTimeoutError, UnauthenticatedError
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.errors import Refusal, RefusedError
from antiphon_cloud.server.access.identity import bearer, caller
from antiphon_cloud.server.access.known import KnownClients
from antiphon_cloud.server.access.limits import CallRate, Shares
from antiphon_cloud.server.deadline import write
from antiphon_cloud.server.refusals import Refusals
from antiphon_cloud.server.statuses import Context, abort, statuses
from antiphon_cloud.sessions.clients import Allowance, Client

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["DialogueService"].full_name
CONVERSE = f"/{SERVICE_NAME}/Converse"
HEALTH_SERVICE = health.SERVICE_NAME
HEALTH = f"/{HEALTH_SERVICE}/"  # load balancers and probes have no key, and learn only up or down
LONG = {f"/{SERVICE_NAME}/GetCodec", f"{HEALTH}Watch"}

CALLS_AWAITING_OPEN = 512  # places of calls without a session
QUERIES = 128  # places of GetModel, GetCodec and reflection
HEALTH_CALLS = 256  # places of health checks and watches
STRANGERS = 128  # places of unanswered calls without a key
REFUSED_AFTER_S = 1.0  # delay of a rate limit's refusals, as refusing is most of a call's work
REQUEST_TIMEOUT_S = 5.0  # for the request of a unary call
CALL_TIMEOUT_S = 60.0
LONG_CALL_TIMEOUT_S = 3600.0

if TYPE_CHECKING:  # grpc's class is not generic at run time
    Handler = grpc.RpcMethodHandler[Any, Any] | None  # None: no such method
    Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]


@dataclass(slots=True)
class Place:
    """One call's place among those of its kind, and its client."""

    client: Client
    shares: Shares
    taken: bool = False

    def take(self) -> None:
        """Counts the call; safe to call twice."""
        if not self.taken:
            self.taken = True
            self.shares.take(self.client)

    def give_back(self) -> None:
        """Stops counting a call with a slot or an ended one; safe to call twice."""
        if self.taken:
            self.taken = False
            self.shares.give_back(self.client)


_place: ContextVar[Place] = ContextVar("place")


def place() -> Place:
    """The place of the current call."""
    return _place.get()


class Gate(grpc.aio.ServerInterceptor):
    """Admits calls with a known key or token, if these are required, while their client keeps to its limits.

    Args:
        known: those that are let in; None lets everyone in.
        allowance: of clients without a key.
        refusals: of the worker.
        clock: seconds.
    """

    def __init__(
        self,
        known: KnownClients | None,
        allowance: Allowance,
        refusals: Refusals,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._known = known
        self.allowance = allowance
        self._refusals = refusals
        self._clock = clock
        self._rate = CallRate()
        self.dialogues = Shares(CALLS_AWAITING_OPEN, "calls without a session")
        self._queries = Shares(QUERIES, "calls")
        self._health = Shares(HEALTH_CALLS, "health checks")
        self._strangers = Shares(STRANGERS, "calls without a key")

    def seat(self, slots: int) -> None:
        """Adds places for calls whose sessions have ended but whose clients do not read the status."""
        self.dialogues.places = CALLS_AWAITING_OPEN + 4 * slots

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        """The method's handler behind the gate, or a refusing one."""
        details: Any = handler_call_details
        method, client = details.method, None
        if self._known is not None and not method.startswith(HEALTH):
            try:
                client = self._known.client(bearer(details.invocation_metadata))
            except AntiphonError as error:
                return self._refusing(error)
        handler = await continuation(details)
        return None if handler is None else self._guarded(handler, method, client)

    def _guarded(self, handler: Any, method: str, known: Client | None) -> Handler:
        shares = self._health if method.startswith(HEALTH) else self._queries
        timeout_s: float | None = LONG_CALL_TIMEOUT_S if method in LONG else CALL_TIMEOUT_S
        if method == CONVERSE:
            shares, timeout_s = self.dialogues, None  # it has its own limits

        async def guarded(requests: AsyncIterator[Any], context: Context) -> None:
            seat = Place(known or caller(context, self.allowance), shares)
            try:
                async with statuses(context):
                    await self._admit(seat)
                    _place.set(seat)
                    try:
                        async with asyncio.timeout(timeout_s) as limit:
                            await _serve(handler, requests, context)
                    except TimeoutError:
                        if not limit.expired():
                            raise
                        raise SessionTimeoutError(f"the call has lasted {timeout_s:g} s: call again") from None
            finally:
                seat.give_back()

        return grpc.stream_stream_rpc_method_handler(guarded, handler.request_deserializer, handler.response_serializer)

    async def _admit(self, seat: Place) -> None:
        """Gives a call its place.

        Raises:
            RefusedError: its client calls too often or has too many calls.
        """
        try:
            self._rate.take(seat.client, seat.shares.what, self._clock())
            seat.shares.check(seat.client)
        except RefusedError as error:
            self._refusals.add(error.reason.value, seat.client.name)
            if error.reason is Refusal.CALL_RATE:
                await _hold(seat)
            raise
        seat.take()

    def _refusing(self, error: AntiphonError) -> Handler:
        """A handler for any method that ends an unauthenticated call with the error's status."""

        async def refuse(requests: Any, context: Context) -> None:
            seat = Place(caller(context, self.allowance), self._strangers)
            reason = "unauthenticated" if isinstance(error, UnauthenticatedError) else "tokens"
            self._refusals.add(reason, seat.client.name)
            try:
                try:
                    self._rate.take(seat.client, seat.shares.what, self._clock())
                except RefusedError:
                    await _hold(seat)
                await abort(context, error)
            finally:
                seat.give_back()

        return grpc.stream_stream_rpc_method_handler(refuse)


async def _hold(seat: Place) -> None:
    """Delays a rate-limited caller's refusal while there is a place to wait in."""
    with suppress(RefusedError):
        seat.shares.check(seat.client)
        seat.take()
        await asyncio.sleep(REFUSED_AFTER_S)


async def _serve(handler: Any, requests: AsyncIterator[Any], context: Context) -> None:
    """Calls the method, of any of gRPC's four kinds."""
    request: Any = requests if handler.request_streaming else await _only(requests)
    shape = (
        f"{'stream' if handler.request_streaming else 'unary'}_{'stream' if handler.response_streaming else 'unary'}"
    )
    behaviour = getattr(handler, shape)
    if inspect.isasyncgenfunction(behaviour):
        async for response in behaviour(request, context):
            await write(context, response)
        return
    response = await behaviour(request, context)
    if not handler.response_streaming:
        await write(context, response)


async def _only(requests: AsyncIterator[Any]) -> Any:
    """The request of a unary call.

    Raises:
        ProtocolError: no request or an invalid one came.
        SessionTimeoutError: none came in time.
    """
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            request = await anext(requests, None)
    except TimeoutError:
        raise SessionTimeoutError(f"no request came for {REQUEST_TIMEOUT_S:g} s: the call is closed") from None
    except DecodeError as error:
        raise ProtocolError(f"request: the bytes are no message of this method ({error})") from error
    if request is None:
        raise ProtocolError("request: the call ended before it")
    return request
