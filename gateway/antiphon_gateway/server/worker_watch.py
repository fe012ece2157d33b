"""Whether workers still answer, once they have: what the gateway's readiness follows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from antiphon.errors import AntiphonError
from antiphon_edge.client.describe import describe
from antiphon_gateway.calls.fleet import Fleet

logger = logging.getLogger(__name__)

LOOK_S = 2.0  # between two looks
ANSWER_S = 3.0  # in which a worker answers, busy as it may be


class WorkerWatch:
    """Asks workers what they serve, one of each kind every `LOOK_S`; the others where that one does not answer.

    A worker that is full answers, one that starts or drains does not.

    Args:
        fleets: the workers of each kind that has answered, the kind that counts first.
    """

    def __init__(self, fleets: Mapping[str, Fleet]) -> None:
        self._fleets = fleets
        self._asked = {kind: fleet.addresses[0] for kind, fleet in fleets.items()}
        self.lost: set[str] = set()
        """The kinds of which no worker answers."""

    @property
    def failure(self) -> str | None:
        """Why no caller is served; None where they are. Workers that are there for others alone do not count."""
        kind = next(iter(self._fleets), None)
        return f"no worker for {kind} answers" if kind in self.lost else None

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Looks once."""
        await asyncio.gather(*(self._look_at(kind, fleet) for kind, fleet in self._fleets.items()))

    async def _look_at(self, kind: str, fleet: Fleet) -> None:
        answering = await self._first([self._asked[kind]], fleet) or await self._first(fleet.addresses, fleet)
        if answering is not None:
            self._asked[kind] = answering
            if kind in self.lost:
                logger.info("a worker for %s answers again", kind)
            self.lost.discard(kind)
        elif kind not in self.lost:
            logger.error("no worker for %s answers: no caller is served", kind)
            self.lost.add(kind)

    async def _first(self, addresses: Sequence[str], fleet: Fleet) -> str | None:
        """The first of the workers that answers; None where none does in time."""
        asking = [asyncio.create_task(_answering(address, fleet)) for address in addresses]
        try:
            for answer in asyncio.as_completed(asking):
                if (address := await answer) is not None:
                    return address
            return None
        finally:
            for task in asking:
                task.cancel()
            await asyncio.wait(asking)


async def _answering(address: str, fleet: Fleet) -> str | None:
    """The address, where a worker answers at it in time."""
    try:
        async with asyncio.timeout(ANSWER_S):
            await describe(address, fleet.credentials)
    except (AntiphonError, TimeoutError):
        return None
    return address
