"""What a client may have of all workers together: opens, and minutes of sessions, which a rate limit service counts.

A session takes a minute from its client's account when it opens and each minute while it lasts, so that an account of
four a minute is four sessions at once. One that goes on at another worker has paid for the minute under way there; when
it pays next is drawn, so that moving saves nothing. A session that finds the account empty twice in a row ends.
"""

from __future__ import annotations

import asyncio
import random

from antiphon_cloud.errors import Refusal, RefusedError
from antiphon_cloud.server.access.rate_limit_service import RateLimitService
from antiphon_cloud.sessions.clients import Client
from antiphon_cloud.sessions.session import Session

OPENS, SESSIONS = "opens", "sessions"  # limits, as the service's configuration names them
MINUTE_S = 60.0
REFUSED_AT_MOST = 2  # in a row; once may be a window that ended a moment too late


class FleetLimits:
    """A worker's part in it.

    Args:
        service: that counts for all workers.
    """

    def __init__(self, service: RateLimitService) -> None:
        self._service = service

    async def open(self, client: Client) -> None:
        """Counts one open.

        Raises:
            RefusedError: the client has had too many, at whichever workers.
        """
        if over_s := await self._service.take(OPENS, client.name):
            raise RefusedError(
                Refusal.OPEN_RATE,
                f"{client.name} opens more sessions than it may at all workers together: wait {over_s:.1f} s",
                over_s,
                everywhere=True,
            )

    async def begin(self, client: Client) -> None:
        """Takes the first minute of a new session, which has its slot: a worker that is full costs its client nothing.

        Raises:
            RefusedError: the client has as many sessions as it may, at whichever workers.
        """
        if over_s := await self._service.take(SESSIONS, client.name):
            raise RefusedError(
                Refusal.CLIENT_SESSIONS,
                f"{client.name} has as many sessions as it may at all workers together: end one first, and wait "
                f"{over_s:.0f} s",
                over_s,
                everywhere=True,
            )

    def first_due_s(self, now_s: float, *, new: bool) -> float:
        """When a session pays next."""
        return now_s + (MINUTE_S if new else random.uniform(0, MINUTE_S))  # noqa: S311 - no secret

    async def pay(self, session: Session) -> RefusedError:
        """Takes each of the session's minutes; returns what it ends with, where there are no more.

        Args:
            session: whose `due_s` and `unpaid` stay with it when its call breaks.
        """
        loop, client = asyncio.get_running_loop(), session.client
        while True:
            await asyncio.sleep(session.due_s - loop.time())
            over_s = await self._service.take(SESSIONS, client.name)
            session.unpaid = session.unpaid + 1 if over_s else 0
            if session.unpaid >= REFUSED_AT_MOST:
                message = f"{client.name} has more sessions than it may at all workers together: this one ends"
                return RefusedError(Refusal.CLIENT_SESSIONS, message, over_s, everywhere=True)
            session.due_s = loop.time() + over_s if over_s else session.due_s + MINUTE_S

    async def close(self) -> None:
        """Closes the connection to the service."""
        await self._service.close()
