"""The asyncio client: a session of codes up, codes and text down.

async with connect("localhost:50051", codec.spec) as session:
    await session.send(codes)  # [user_codebooks]
    async for reply in session: ...
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc

from antiphon.codes import Codes
from antiphon.errors import AntiphonError, SequenceError, UnavailableError
from antiphon.spec import CodecSpec, Limits, ModelSpec, Sampling
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.connection import CONNECT_TIMEOUT_S, open_channel, translate
from antiphon_edge.credentials import PLAINTEXT, Credentials

logger = logging.getLogger(__name__)

T = TypeVar("T")

NUMBERED_EVERY = 256  # frames between two that carry their number: 20 s, for 0.2 bytes/s


@dataclass(frozen=True, slots=True)
class Reply:
    """The model's answer to the frame of the same sequence number."""

    sequence: int
    codes: Codes | None  # [model_codebooks]; None while the delays hold it back, or when the model only listens
    text_token: int | None  # None while the delays hold it back
    text: str
    round_trip_s: float  # from send to receive


@dataclass(frozen=True, slots=True)
class GoAway:
    """The worker asks this session to move."""

    reason: str
    time_left_s: float


@dataclass(frozen=True, slots=True)
class Totals:
    """How a session ended. Timings, where asked for, cover the last frames, oldest first, in microseconds."""

    frames: int
    wait_us: list[int] = field(default_factory=list)
    step_us: list[int] = field(default_factory=list)


@asynccontextmanager
async def connect(
    address: str,
    codec: CodecSpec,
    *,
    sampling: Sampling | None = None,
    seed: int | None = None,
    mode: pb.Mode = pb.MODE_UNSPECIFIED,
    timings: bool = False,
    credentials: Credentials = PLAINTEXT,
) -> AsyncIterator[Session]:
    """Opens a session on the worker at `address`, and closes it on the way out.

    Args:
        address: HOST:PORT.
        codec: the codec that makes and reads the codes (`Codec.load(...).spec`).
        sampling: None takes the model's own.
        seed: the same seed, sampling and codes give the same reply; None draws one.
        mode: what the model must be able to do; unspecified takes whatever it does.
        timings: ask for the worker's own times in `Totals`.
        credentials: TLS and API key; none will do for a worker on this machine only.

    Raises:
        CredentialsError: the worker is on another machine, and `credentials` neither encrypt nor allow plaintext.
        UnavailableError: nobody answers, or the worker is starting or draining.
        NoFreeSlotError: the worker is full.
        CodecMismatchError: as `PreconditionError`; the worker's codec is another.
        AntiphonError: any other status that ended the session.
    """
    seed = secrets.randbits(63) if seed is None else seed
    async with open_channel(address, credentials) as stub:
        session = Session(stub.Converse(), address, codec, seed)
        try:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await session.open(sampling, mode, timings)
            except TimeoutError:
                raise UnavailableError(
                    f"the worker at {address} did not answer Open: try again, or another one"
                ) from None
            yield session
        finally:
            await session.abandon()


class Session:
    """A live session; `connect` makes it.

    Bounded both ways: `send` waits while `limits.max_frames_in_flight` frames are unanswered, and a reply is read
    only when it is asked for. Send and receive in turn, or from two tasks: one that sends, one that receives.
    """

    def __init__(self, call: Any, address: str, codec: CodecSpec, seed: int) -> None:
        self.address = address
        self.seed = seed
        self.id = ""
        self.model: ModelSpec
        self.limits: Limits
        self.go_away: GoAway | None = None
        self.totals: Totals | None = None
        self._call = call
        self._codec = codec
        self._next_up = 0
        self._next_down = 0
        self._sent_at: deque[float] = deque()  # bounded by the frames in flight
        self._room = asyncio.Event()  # a frame was answered, or the call ended
        self._ending = False
        self._reading: asyncio.Task[Any] | None = None
        self._ended_with: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._remember_status)

    async def open(self, sampling: Sampling | None, mode: pb.Mode, timings: bool) -> None:
        """The first exchange; `connect` calls it."""
        message = pb.Open(codec_fingerprint=self._codec.fingerprint, mode=mode, seed=self.seed, timings=timings)
        if sampling is not None:
            message.sampling.CopyFrom(sampling.to_message())
        await self._write(pb.ConverseRequest(open=message))
        response = await self._read()
        if response.WhichOneof("control") != "opened":
            raise SequenceError(f"the worker at {self.address} did not answer Open with Opened: is it another version?")
        opened = response.opened
        self.id = opened.session_id
        self.model = ModelSpec.from_message(opened.model)
        self.limits = Limits.from_message(opened.limits)
        self._next_up = self._next_down = self._offset = opened.step_offset
        self._user_packer = self.model.user_packer
        self._model_packer = self.model.model_packer

    @property
    def in_flight(self) -> int:
        """Frames sent and not yet answered."""
        return len(self._sent_at)

    async def send(self, codes: Codes) -> int:
        """Sends one frame of user codes [user_codebooks] and returns its sequence number; waits for room.

        Raises:
            CodesError: codes of a wrong shape or out of range; nothing was sent.
            AntiphonError: the session has ended; the error says why.
        """
        packed = self._user_packer.pack(codes)
        if self._ending:
            raise SequenceError("send after end: open a new session")
        while self.in_flight >= self.limits.max_frames_in_flight and not self._call.done():
            self._room.clear()
            await self._room.wait()
        sequence = self._next_up
        request = pb.ConverseRequest(codes=packed)
        if sequence % NUMBERED_EVERY == 0:
            request.sequence = sequence
        self._next_up += 1
        self._sent_at.append(time.perf_counter())
        await self._write(request)
        return sequence

    async def receive(self) -> Reply | None:
        """The next reply; None after the last one, when `totals` is known.

        Raises:
            AntiphonError: the session has ended; the error says why.
        """
        while self.totals is None:
            response = await self._read()
            match response.WhichOneof("control"):
                case None:
                    return self._reply(response)
                case "go_away":
                    self.go_away = GoAway(response.go_away.reason, response.go_away.time_left_ms / 1000)
                    logger.warning("%s; %.0f s left", self.go_away.reason, self.go_away.time_left_s)
                case "closed":
                    timings = response.closed.timings
                    self.totals = Totals(response.closed.frames, list(timings.wait_us), list(timings.step_us))
        return None

    async def __aiter__(self) -> AsyncIterator[Reply]:
        while (reply := await self.receive()) is not None:
            yield reply

    async def end(self) -> None:
        """Says that no more frames will come; the replies under way still do."""
        if self._ending:
            return
        self._ending = True
        await self._write(pb.ConverseRequest(close=pb.Close()))

    def _reply(self, message: pb.ConverseResponse) -> Reply:
        sequence = self._next_down
        if not self._sent_at or (message.HasField("sequence") and message.sequence != sequence):
            answered = message.sequence if message.HasField("sequence") else sequence
            raise SequenceError(
                f"the worker at {self.address} answered frame {answered} out of turn: open a new session"
            )
        self._next_down += 1
        round_trip_s = time.perf_counter() - self._sent_at.popleft()
        self._room.set()
        if sequence - self._offset < self.model.delay_steps:
            return Reply(sequence, None, None, "", round_trip_s)
        return Reply(
            sequence,
            self._model_packer.unpack(message.codes) if self.model.model_codebooks else None,
            message.text_token if message.HasField("text_token") else self.model.text_padding_token,
            message.text,
            round_trip_s,
        )

    async def abandon(self) -> None:
        """Leaves the call, wherever it stands; `connect` calls it."""
        self._ending = True
        self._call.cancel()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> pb.ConverseResponse:
        # gRPC ends a call whose read is cancelled: the read goes on, and whoever reads next takes its result.
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._call.read())
        try:
            response = await self._translated(asyncio.shield(self._reading))
        finally:
            if self._reading.done():
                self._reading = None
        if response is grpc.aio.EOF:
            raise SequenceError(f"the worker at {self.address} ended the call before Closed")
        return response  # type: ignore[no-any-return]

    async def _write(self, request: pb.ConverseRequest) -> None:
        await self._translated(asyncio.shield(asyncio.ensure_future(self._call.write(request))))

    async def _translated(self, operation: asyncio.Future[T]) -> T:
        """The operation's result, or the reason why the call ended as an error of ours."""
        try:
            return await operation
        except grpc.aio.AioRpcError as error:
            raise self._reason(error) from None
        except asyncio.InvalidStateError:  # the call had ended before
            raise self._reason(self._ended_with) from None
        except asyncio.CancelledError:
            if self._call.cancelled():  # the call was, and not the caller
                raise self._reason(None) from None
            raise

    def _reason(self, error: grpc.aio.AioRpcError | None) -> AntiphonError:
        error = self._ended_with or error
        if error is None or error.code() in (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED):
            return SequenceError(f"the session on {self.address} has ended: open a new one")
        return translate(error, self.address)

    def _remember_status(self, call: Any) -> None:
        """Keeps the worker's status as it arrives: a write that fails after it would overwrite it (grpc#36066)."""

        async def status() -> grpc.aio.AioRpcError:
            return grpc.aio.AioRpcError(
                await call.code(), await call.initial_metadata(), await call.trailing_metadata(), await call.details()
            )

        coroutine = status()
        try:
            coroutine.send(None)  # the call has ended: nothing here waits
        except StopIteration as done:
            self._ended_with = done.value
        finally:
            coroutine.close()
            self._room.set()  # whoever waits hears of the end
