"""The gRPC service: messages in and out of sessions, errors to statuses, and nothing else."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import grpc
from google.protobuf.message import DecodeError

from antiphon.errors import AntiphonError, PermissionDeniedError, ProtocolError, UnavailableError
from antiphon.history import PastTokens
from antiphon.v1 import dialogue_pb2 as pb
from antiphon.v1 import dialogue_pb2_grpc
from antiphon_cloud.clients import STEPS_AN_OPEN
from antiphon_cloud.errors import RefusedError
from antiphon_cloud.gate import place, send_headers, write
from antiphon_cloud.patience import Patience
from antiphon_cloud.session import FrameReceived, OpenRequested, Session, State
from antiphon_cloud.sessions import LiveSession
from antiphon_cloud.statuses import Context
from antiphon_cloud.worker import Phase, Worker

logger = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 5.0  # for Open to come
TAKE_TIMEOUT_S = 5.0  # for Opened, and for Closed, to be taken
CODEC_CHUNK_BYTES = 64 * 1024
EVICTION_S = 0.25  # for a call that was ended to end


class DialogueService(dialogue_pb2_grpc.DialogueServiceServicer):
    """Serves one worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._calls: set[_Call] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def Converse(self, requests: AsyncIterator[pb.ConverseRequest], context: Context) -> None:  # noqa: N802
        """One conversation, from Open to Closed."""
        async with self._counted():
            call = _Call(self._worker, context)
            self._calls.add(call)
            self._idle.clear()
            try:
                await call.run(requests)
            finally:
                self._calls.discard(call)
                if not self._calls:
                    self._idle.set()

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        """Counts how the call ended."""
        metrics = self._worker.metrics
        try:
            yield
        except AntiphonError as error:
            if isinstance(error, RefusedError):
                metrics.refused(error.reason.value)
            elif isinstance(error, PermissionDeniedError):
                metrics.refused("permission_denied")
            metrics.ended(error.status)
            raise
        except asyncio.CancelledError:
            metrics.ended("CANCELLED")
            raise
        metrics.ended("OK")

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:  # noqa: N802
        """What is served, and how busy the worker is."""
        served = self._worker.served
        steps = served.steps.now()
        response = pb.GetModelResponse()
        response.CopyFrom(served.description)
        response.load.sessions = served.sessions.carried
        response.load.draining = self._worker.phase is Phase.DRAINING
        response.load.step_p50_ms = steps.p50_ms
        response.load.step_p99_ms = steps.p99_ms
        response.load.lone_step_ms = steps.lone_ms
        response.load.slower_than_real_time = steps.slower_than_real_time
        return response

    async def GetCodec(self, request: pb.GetCodecRequest, context: Context) -> None:  # noqa: N802
        """The codec's files: a manifest, then their bytes in its order."""
        codec = self._worker.served.codec
        manifest = pb.CodecManifest(codec=codec.spec.to_message())
        for file in codec.files:
            manifest.files.add(name=file.path.name, size_bytes=file.size_bytes, sha256=file.sha256)
        await write(context, pb.GetCodecResponse(manifest=manifest))
        if request.manifest_only:
            return
        try:
            for file in codec.files:
                with file.open() as opened:
                    while chunk := await asyncio.to_thread(opened.read, CODEC_CHUNK_BYTES):
                        await write(context, pb.GetCodecResponse(chunk=chunk))
        except OSError as error:
            logger.exception("the codec that was there at the start is gone")
            raise AntiphonError("this worker's codec is gone: pull from another one") from error

    async def drain(self, time_left_s: float) -> None:
        """Asks every live call's edge to move on, and returns when the last has left or was made to."""
        self._worker.served.sessions.end_kept()
        going = [asyncio.create_task(call.go_away("the worker is draining", time_left_s)) for call in self._calls]
        try:
            async with asyncio.timeout(time_left_s + EVICTION_S):
                await self._idle.wait()
        except TimeoutError:
            logger.warning("%d calls did not end in time", len(self._calls))
        finally:
            for task in going:
                task.cancel()
            await asyncio.gather(*going, return_exceptions=True)


class _Call:
    """One Converse call: read a frame, have it stepped, write the reply, read the next.

    That bounds both ways: a flood waits in HTTP/2's window, and a slow reader's next frame is not stepped before it
    has taken its last reply. Nothing that the edge does or leaves undone holds the call longer than its idle timeout.
    """

    def __init__(self, worker: Worker, context: Context) -> None:
        self._worker = worker
        self._served = served = worker.admit()
        self._context = context
        self._place = place()
        self._client = self._place.client
        self._session = Session(served.engine.spec, served.codec.spec, served.limits, served.piece_of)
        self._writing = asyncio.Lock()
        self._opened = asyncio.Event()  # the edge has taken Opened
        self._opening = False  # Opened is on its way
        self._evicted: str | None = None
        self._task = asyncio.current_task()

    async def run(self, requests: AsyncIterator[pb.ConverseRequest]) -> None:
        """Serves the call to its end; the slot goes back however it ends.

        Raises:
            AntiphonError: the status that ends it.
        """
        try:
            with Patience(OPEN_TIMEOUT_S) as patience, patience.waiting("no Open came"):
                request = await self._read(requests)
            if request is None:
                raise ProtocolError("open: the call ended before Open; the first message must be Open")
            event = self._session.receive(request)
            assert isinstance(event, OpenRequested), "the session accepts nothing else first"
            self._worker.admit()  # again: Open may come long after the call
            self._worker.open_rate.take(self._client, time.monotonic())
            sessions = self._served.sessions
            live = sessions.resume(event, self._client, self.evict)
            if live is not None:
                self._worker.metrics.resumed("slot")
            else:
                if event.past is not None:
                    cost = len(event.past) / STEPS_AN_OPEN
                    self._worker.open_rate.take(self._client, time.monotonic(), cost)
                live = sessions.open(event, self._client, self.evict)
            self._place.give_back()
            if await self._carry(live, requests, event.past):
                await self._close()
        except asyncio.CancelledError:
            if self._evicted is None:
                raise
            assert self._task is not None
            self._task.uncancel()
            raise UnavailableError(f"{self._evicted}: connect to another worker") from None

    async def _carry(
        self, live: LiveSession, requests: AsyncIterator[pb.ConverseRequest], past: PastTokens | None
    ) -> bool:
        """Serves the session until the edge closes it, and says whether Closed is still due: after Close the slot is
        free first. A stream that breaks leaves the session to the edge's next call, if the edge knows of it."""
        broken = False
        try:
            rebuilt = 0 if past is None or live.lease.ready.done() else len(past)
            await asyncio.shield(live.lease.ready)
            self._opening = True
            with self._served.sessions.telling(live):
                await self._say(self._session.opened(live.id, live.resume_token, rebuilt), "the edge took no Opened")
            self._opened.set()
            if await self._converse(requests, live):
                return True
            await self._close()  # fails where the stream did not end but broke, which looks the same from here
            return False
        except (asyncio.CancelledError, grpc.aio.InternalError):
            broken = self._opened.is_set() and self._evicted is None
            raise
        finally:
            self._served.sessions.leave(live, self.evict, keep=broken)
            self._place.take()

    async def _converse(self, requests: AsyncIterator[pb.ConverseRequest], live: LiveSession) -> bool:
        """Answers frame after frame; True at Close, False at the end of the stream."""
        with Patience(self._served.limits.idle_timeout_ms / 1000) as patience:
            while True:
                with patience.waiting("no frame came"):
                    request = await self._read(requests)
                if request is None:
                    return False
                event = self._session.receive(request)
                if not isinstance(event, FrameReceived):
                    return True
                reply = await live.answer(event.sequence, event.codes)
                with patience.waiting("the edge took no reply"):
                    await self._write(self._session.reply(reply))

    @staticmethod
    async def _read(requests: AsyncIterator[pb.ConverseRequest]) -> pb.ConverseRequest | None:
        """The edge's next message; None at the end of its stream."""
        try:
            return await anext(requests, None)
        except DecodeError as error:
            raise ProtocolError(f"request: the bytes are no ConverseRequest ({error})") from error

    async def _close(self) -> None:
        await self._say(self._session.closed(), "the edge took no Closed")

    async def _say(self, response: pb.ConverseResponse, otherwise: str) -> None:
        """Writes what begins or ends a session; `otherwise` is what went wrong where it is not taken."""
        with Patience(TAKE_TIMEOUT_S) as patience, patience.waiting(otherwise):
            await send_headers(self._context)
            await self._write(response)

    async def _write(self, response: pb.ConverseResponse) -> None:
        async with self._writing:
            await self._context.write(response)

    async def go_away(self, reason: str, time_left_s: float) -> None:
        """Tells the edge to move, and ends the call when the time is up; at once where the edge has no Opened yet, to
        which GoAway would be no answer."""
        if self._session.state in (State.CLOSING, State.CLOSED):
            return  # all is answered, and Closed has little time
        if self._opening:  # the edge may have it already, and this task not know it yet
            with suppress(TimeoutError):
                await asyncio.wait_for(self._opened.wait(), EVICTION_S)
        if self._opened.is_set() and self._session.state is State.OPEN:
            go_away = pb.GoAway(reason=reason, time_left_ms=round(time_left_s * 1000))
            telling = asyncio.create_task(self._write(pb.ConverseResponse(go_away=go_away)))
            try:
                await asyncio.sleep(time_left_s)
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
        self.evict(reason)

    def evict(self, reason: str) -> None:
        """Ends the call with UNAVAILABLE."""
        self._evicted = reason
        assert self._task is not None
        self._task.cancel()
