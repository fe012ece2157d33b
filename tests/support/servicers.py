"""A worker that is whatever a test's gRPC service does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from antiphon.v1 import dialogue_pb2_grpc


@asynccontextmanager
async def serving(service: dialogue_pb2_grpc.DialogueServiceServicer) -> AsyncIterator[str]:
    """The address of the worker, on a port that the system picks."""
    server = grpc.aio.server()
    dialogue_pb2_grpc.add_DialogueServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
