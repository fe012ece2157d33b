"""The gRPC service: its three methods, and the calls that are live."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from antiphon.errors import AntiphonError, PermissionDeniedError
from antiphon.v1 import dialogue_pb2 as pb
from antiphon.v1 import dialogue_pb2_grpc
from antiphon_cloud.errors import RefusedError
from antiphon_cloud.server.call import Call
from antiphon_cloud.server.deadline import write
from antiphon_cloud.server.interceptor import place
from antiphon_cloud.server.statuses import Context
from antiphon_cloud.server.worker import Phase, Worker

logger = logging.getLogger(__name__)

CODEC_CHUNK_BYTES = 64 * 1024
EVICTION_S = 0.25  # for a call that was ended to end


class DialogueService(dialogue_pb2_grpc.DialogueServiceServicer):
    """Serves one worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._calls: set[Call] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def Converse(self, requests: AsyncIterator[pb.ConverseRequest], context: Context) -> None:  # noqa: N802
        """One conversation, from Open to Closed."""
        seat = place()
        async with self._counted(seat.client.name):
            call = Call(self._worker, context, seat)
            self._calls.add(call)
            self._idle.clear()
            try:
                await call.run(requests)
            finally:
                self._calls.discard(call)
                if not self._calls:
                    self._idle.set()

    @asynccontextmanager
    async def _counted(self, client: str) -> AsyncIterator[None]:
        """Counts how a client's call ended."""
        metrics = self._worker.metrics
        try:
            yield
        except AntiphonError as error:
            if isinstance(error, RefusedError):
                self._worker.refusals.add(error.reason.value, client)
            elif isinstance(error, PermissionDeniedError):
                self._worker.refusals.add("permission_denied", client)
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
        response.worker = self._worker.name
        response.adapters.extend(served.engine.adapters.names())
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
        files = codec.to_send(encoder_only=request.encoder_only)
        for file in files:
            manifest.files.add(name=file.path.name, size_bytes=file.size_bytes, sha256=file.sha256)
        await write(context, pb.GetCodecResponse(manifest=manifest))
        if request.manifest_only:
            return
        try:
            for file in files:
                with file.open() as opened:
                    while chunk := await asyncio.to_thread(opened.read, CODEC_CHUNK_BYTES):
                        await write(context, pb.GetCodecResponse(chunk=chunk))
        except OSError as error:
            logger.exception("the codec that was there at the start is gone")
            raise AntiphonError("this worker's codec is gone: pull from another one") from error

    def send_away(self, reason: str) -> None:
        """Ends every live call with UNAVAILABLE, but those that have been answered to their end."""
        for call in self._calls:
            if not call.closing:
                call.evict(reason)

    async def drain(self, time_left_s: float) -> None:
        """Asks every live call's edge to move on, and returns when the last has left or was made to."""
        self._worker.served.sessions.end_detached()
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
