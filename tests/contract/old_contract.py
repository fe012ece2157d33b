"""The contract as edges and workers that are out there know it: `dialogue.proto` beside this file, never changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tools.setup.protoc import protoc

FOLDER = Path(__file__).parent
SERVICE = "antiphon.v1.DialogueService"


@cache
def pool() -> descriptor_pool.DescriptorPool:
    """The old messages, beside today's of the same names."""
    described = protoc(f"-I{FOLDER}", "--descriptor_set_out=/dev/stdout", "dialogue.proto")
    made = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(described).file:
        made.Add(file)
    return made


def old(name: str) -> Any:
    """The old message class of that name."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(f"antiphon.v1.{name}"))


def as_old_knows(name: str, data: bytes) -> bytes:
    """What is left of a message once somebody who knows the old contract has read it."""
    message = old(name).FromString(data)
    message.DiscardUnknownFields()
    return bytes(message.SerializeToString())


@asynccontextmanager
async def old_contract_before(worker: str) -> AsyncIterator[str]:
    """An address where the worker is reached by the old contract alone, in both directions."""
    async with grpc.aio.insecure_channel(worker) as channel:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((_Narrow(channel),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(None)


class _Narrow(grpc.GenericRpcHandler):
    """Passes every call on, message by message."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """The handler of a method."""
        method = details.method.rpartition("/")[2]

        async def relay(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
            call: Any = self._channel.stream_stream(f"/{SERVICE}/{method}")()

            async def up() -> None:
                async for request in requests:
                    await call.write(as_old_knows(f"{method}Request", request))
                await call.done_writing()

            sending = asyncio.create_task(up())
            try:
                with suppress(grpc.aio.AioRpcError):
                    async for response in call:
                        await context.write(as_old_knows(f"{method}Response", response))
                context.set_code(await call.code())
                context.set_details(await call.details())
            finally:
                sending.cancel()
                call.cancel()
                await asyncio.gather(sending, return_exceptions=True)

        return grpc.stream_stream_rpc_method_handler(relay)
