"""gRPC's health protocol, for load balancers and probes.

The library's own servicer blocks the worker on every watcher; this one waits for none.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from antiphon_cloud.server.deadline import write
from antiphon_cloud.server.statuses import Context

Response = health_pb2.HealthCheckResponse


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # grpc_health has no types
    """Reports whether each service is up. Runs on the event loop; `Gate` bounds calls in number and time."""

    def __init__(self, *services: str) -> None:
        self._services = frozenset(services)
        self._status = Response.NOT_SERVING
        self._news = asyncio.Event()

    def announce(self, status: int) -> None:
        """Changes the status; watchers get it when they next run."""
        self._status = status
        self._news.set()
        self._news = asyncio.Event()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> Any:  # noqa: N802
        """The status now."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "service: this worker has no such service")
        return Response(status=self._status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:  # noqa: N802
        """The status now and after each change."""
        sent = None
        while True:
            news = self._news
            status = self._status if request.service in self._services else Response.SERVICE_UNKNOWN
            if status != sent:
                await write(context, Response(status=status))
                sent = status
            await news.wait()
