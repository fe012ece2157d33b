"""Envoy's rate limit service, as far as its reference reads the file that is shipped: fixed windows of a minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import yaml

from antiphon_cloud.server.access.rate_limit_service import DOMAIN, METHOD, OVER_LIMIT, Request, Response
from tools import ROOT

SHIPPED = ROOT / "cloud/deploy/ratelimit/antiphon.yaml"
MINUTE_S = 60.0


class Counts:
    """Counts hits by limit and client.

    Args:
        clock: seconds.
        path: of the limits.
    """

    def __init__(self, clock: Callable[[], float], path: Path = SHIPPED) -> None:
        configuration = yaml.safe_load(path.read_text())
        assert configuration["domain"] == DOMAIN
        self._limits = {each["value"]: each["descriptors"] for each in configuration["descriptors"]}
        self._clock = clock
        self.hits: Counter[tuple[str, str, int]] = Counter()

    def allowed(self, limit: str, client: str) -> int:
        """Hits in a minute."""
        rules = self._limits[limit]
        own = [each for each in rules if each.get("value") == client] or [each for each in rules if "value" not in each]
        assert own[0]["rate_limit"]["unit"] == "minute"
        return int(own[0]["rate_limit"]["requests_per_unit"])

    async def should_rate_limit(self, request: Any, context: Any) -> Any:
        """The method."""
        ((limit, client),) = [[entry.value for entry in each.entries] for each in request.descriptors]
        window = int(self._clock() // MINUTE_S)
        self.hits[limit, client, window] += request.hits_addend
        if self.hits[limit, client, window] <= self.allowed(limit, client):
            return Response(overall_code=1)
        answer = Response(overall_code=OVER_LIMIT)
        answer.statuses.add(code=OVER_LIMIT).duration_until_reset.seconds = int(
            (window + 1) * MINUTE_S - self._clock() + 1
        )
        return answer


@asynccontextmanager
async def rate_limit_service(counts: Counts) -> AsyncIterator[str]:
    """Serves until the block ends; HOST:PORT."""
    service, method = METHOD.strip("/").split("/")
    handler = grpc.unary_unary_rpc_method_handler(
        counts.should_rate_limit, Request.FromString, Response.SerializeToString
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
