"""How long a session may last: told when it opens, ended with a status that is final, and no younger elsewhere."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from antiphon.errors import AntiphonError, PreconditionError, UnauthenticatedError
from antiphon.serving.key_edit import make_key
from antiphon_cloud.server.process import ServerConfig
from antiphon_cloud.sessions.clients import Allowance, Client
from antiphon_cloud.sessions.lifetime import end_of
from antiphon_cloud.timing import FRAME_S
from antiphon_edge import Credentials, Ending, Session, connect
from antiphon_edge.client.events import Change
from tests.support.servers import CODEC, StubOptions, stub_server
from tests.support.time_travel import Clock, until

CODES = np.arange(8, dtype=np.int32)
HOUR_S = 3600.0


def lasting(longest_s: float | None, **config: Path) -> StubOptions:
    allowance = Allowance(longest_s=longest_s)
    return StubOptions(config=ServerConfig(listen="127.0.0.1:0", allowance=allowance, **config))  # type: ignore[arg-type]


async def error_of(session: Session) -> AntiphonError:
    with pytest.raises(AntiphonError) as raised:
        await asyncio.wait_for(session.receive(), 100)
    return raised.value


async def test_a_session_is_told_its_end_when_it_opens_and_again_shortly_before(clock: Clock) -> None:
    changes: list[Change] = []
    async with (
        stub_server(lasting(HOUR_S)) as server,
        stub_server(lasting(HOUR_S)) as other,
        connect([server.address, other.address], CODEC, on_change=changes.append) as session,
    ):
        assert session.ends_in_s == pytest.approx(HOUR_S, abs=100)
        await clock.outlast(HOUR_S - 30.0)
        await until(lambda: changes)
        assert changes == [Ending(30.0)]
        await session.send(CODES)
        assert (await session.receive()).sequence == 0  # type: ignore[union-attr]
        clock.advance(31.0)
        error = await error_of(session)
    assert isinstance(error, PreconditionError)
    assert str(error) == "this session has lasted 3600 s, as long as one may here: open a new one"
    assert session.address == server.address  # nobody else was asked
    assert changes == [Ending(30.0)]
    assert other.server.worker.served.sessions.carried == 0


async def test_a_worker_without_a_limit_tells_none() -> None:
    async with stub_server(lasting(None)) as server, connect(server.address, CODEC) as session:
        assert session.ends_in_s is None


async def test_an_expiring_key_ends_its_session_and_the_reason_says_so(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "keys.toml"
    key = make_key(path, "kitchen", expires=datetime.now(UTC) + timedelta(seconds=HOUR_S))
    async with (
        stub_server(lasting(2 * HOUR_S, api_keys=path)) as server,
        connect(server.address, CODEC, credentials=Credentials(api_key=key)) as session,
    ):
        await session.send(CODES)
        await session.receive()
        await clock.outlast(HOUR_S)
        error = await error_of(session)
        assert isinstance(error, UnauthenticatedError)
        assert str(error).startswith("the API key kitchen has expired, and its session with it")


@pytest.mark.parametrize(
    ("steps", "begun_s", "left_s"), [(0, 0.0, 80.0), (500, 0.0, 40.0), (500, 30.0, 10.0), (1000, 1.0, -1.0)]
)
def test_a_sessions_age_is_that_of_its_history_and_of_what_came_after(
    steps: int, begun_s: float, left_s: float
) -> None:
    end = end_of(Client("anyone", Allowance(longest_s=80.0)), steps, begun_s, 0.0)
    assert FRAME_S == 0.08
    assert end is not None
    assert end.in_s == pytest.approx(left_s)


def test_what_comes_first_ends_it() -> None:
    now_s = time.time()
    for longest_s, status in ((9.0, "FAILED_PRECONDITION"), (11.0, "UNAUTHENTICATED")):
        end = end_of(Client("anyone", Allowance(longest_s=longest_s), expires_s=now_s + 10), 0, 0.0, now_s)
        assert end is not None
        assert end.error.status == status


async def test_a_session_that_is_too_old_is_taken_by_no_worker(clock: Clock) -> None:
    changes: list[Change] = []
    async with (
        stub_server(lasting(None)) as young,
        stub_server(lasting(5 * FRAME_S)) as strict,
        connect([young.address, strict.address], CODEC, on_change=changes.append) as session,
    ):
        for _ in range(6):
            await session.send(CODES)
            await session.receive()
        await young.server.stop()
        await session.send(CODES)
        await until(lambda: "as long as one may" in str(changes))
        clock.advance(400.0)  # the patience of an edge that hopes for the other one
        error = await error_of(session)
    assert isinstance(error, PreconditionError)
    assert "as long as one may here" in str(error)
