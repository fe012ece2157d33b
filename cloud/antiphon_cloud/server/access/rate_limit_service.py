"""A client of Envoy's rate limit service (`envoy.service.ratelimit.v3`), as envoyproxy/ratelimit speaks it.

The few fields that cross are described here, with the numbers of Envoy's own files.
"""

from __future__ import annotations

import logging
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from antiphon.channel import KEEPALIVE

logger = logging.getLogger(__name__)

METHOD = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
DOMAIN = "antiphon"
DIRECTLY = ("grpc.enable_http_proxy", 0)  # it stands beside the worker
TIMEOUT_S = 0.25  # an Open waits so long at most
OVER_LIMIT = 2
RETRY_S = 1.0  # where the service does not say when its window ends

Field = descriptor_pb2.FieldDescriptorProto
MESSAGES: dict[str, dict[str, tuple[int, Any]]] = {  # name → field → number, and its type or message
    "Entry": {"key": (1, Field.TYPE_STRING), "value": (2, Field.TYPE_STRING)},
    "Descriptor": {"entries": (1, "Entry")},
    "Request": {
        "domain": (1, Field.TYPE_STRING), "descriptors": (2, "Descriptor"), "hits_addend": (3, Field.TYPE_UINT32),
    },
    "Duration": {"seconds": (1, Field.TYPE_INT64), "nanos": (2, Field.TYPE_INT32)},
    "Status": {"code": (1, Field.TYPE_INT32), "duration_until_reset": (4, "Duration")},
    "Response": {"overall_code": (1, Field.TYPE_INT32), "statuses": (2, "Status")},
}  # fmt: skip
REPEATED = {"entries", "descriptors", "statuses"}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="rate_limit_service", package="antiphon.rls", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            label = Field.LABEL_REPEATED if field in REPEATED else Field.LABEL_OPTIONAL
            if isinstance(kind, str):
                of = f".antiphon.rls.{kind}"
                message.field.add(name=field, number=number, label=label, type=Field.TYPE_MESSAGE, type_name=of)
            else:
                message.field.add(name=field, number=number, label=label, type=kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"antiphon.rls.{name}")) for name in MESSAGES
    }


_found = _classes()
Request, Response = _found["Request"], _found["Response"]


class RateLimitService:
    """The service at an address. One that does not answer lets everybody through: the worker's own limits hold.

    Args:
        address: HOST:PORT.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._channel: grpc.aio.Channel | None = None
        self._answers = True

    async def take(self, limit: str, client: str, hits: int = 1) -> float:
        """Counts hits. Returns 0 where there were so many left, else the seconds until there may be.

        Args:
            limit: which of the client's.
            client: its name.
            hits: how many.
        """
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._address, options=(*KEEPALIVE, DIRECTLY))
        request = Request(domain=DOMAIN, hits_addend=hits)
        entries = request.descriptors.add().entries
        entries.add(key="limit", value=limit)
        entries.add(key="client", value=client)
        call: Any = self._channel.unary_unary(METHOD, Request.SerializeToString, Response.FromString)
        try:
            answer = await call(request, timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if self._answers:
                logger.warning(
                    "the rate limit service at %s does not answer (%s): limits hold for this worker alone meanwhile",
                    self._address, error.details(),
                )  # fmt: skip
            self._answers = False
            return 0.0
        if not self._answers:
            logger.warning("the rate limit service at %s answers again", self._address)
            self._answers = True
        if answer.overall_code != OVER_LIMIT:
            return 0.0
        resets_s: list[float] = [
            each.duration_until_reset.seconds + each.duration_until_reset.nanos / 1e9
            for each in answer.statuses
            if each.code == OVER_LIMIT
        ]
        return max([RETRY_S, *resets_s])

    async def close(self) -> None:
        """Closes the connection."""
        if self._channel is not None:
            await self._channel.close()
