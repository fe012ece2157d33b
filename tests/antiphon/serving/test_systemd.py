"""What systemd is told."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.serving.systemd import Systemd
from tests.support.time_travel import Clock


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def test_a_service_says_when_it_is_ready_how_it_goes_and_when_it_ends(manager: socket.socket) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "30000000"})
    systemd.ready("in conversation")
    systemd.status("reconnecting")
    systemd.alive()
    systemd.stopping()
    said = [manager.recv(1024).decode() for _ in range(4)]
    assert said == ["READY=1\nSTATUS=in conversation", "STATUS=reconnecting", "WATCHDOG=1", "STOPPING=1"]
    assert systemd.watchdog_s == 30.0


def test_without_a_manager_nothing_is_said() -> None:
    systemd = Systemd({})
    systemd.ready("in conversation")
    systemd.alive()
    assert systemd.watchdog_s is None


@pytest.mark.parametrize(
    ("pid", "watchdog_s"), [(str(os.getpid()), 2.0), ("1", None)], ids=["for us", "for another process"]
)
def test_the_watchdog_is_for_the_process_that_the_manager_names(pid: str, watchdog_s: float | None) -> None:
    assert Systemd({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": pid}).watchdog_s == watchdog_s


def test_no_sign_is_given_where_the_manager_does_not_watch(manager: socket.socket) -> None:
    Systemd({"NOTIFY_SOCKET": manager.getsockname()}).alive()
    with pytest.raises(BlockingIOError):
        manager.recv(1024)


def test_a_manager_that_is_gone_is_no_error(tmp_path: Path) -> None:
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("in conversation")


def test_a_reload_says_when_it_begins_and_that_the_service_is_ready_again(manager: socket.socket) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": manager.getsockname()})
    systemd.ready("in conversation")
    manager.recv(1024)
    with systemd.reloading():
        begun = manager.recv(1024).decode()
    assert begun.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert manager.recv(1024).decode() == "READY=1"


def test_a_reload_before_the_service_has_started_or_while_it_ends_does_not_make_it_ready(
    manager: socket.socket,
) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": manager.getsockname()})
    with systemd.reloading():
        pass
    systemd.ready("in conversation")
    systemd.stopping()
    with systemd.reloading():
        pass
    assert [manager.recv(1024).decode().split("\n")[0] for _ in range(2)] == ["READY=1", "STOPPING=1"]
    with pytest.raises(BlockingIOError):
        manager.recv(1024)


async def test_signs_come_while_nothing_is_wrong_and_then_the_reason(manager: socket.socket, clock: Clock) -> None:
    failures: list[str] = []
    systemd = Systemd({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "90000000"})
    loop = asyncio.get_running_loop()
    async with systemd.watched(lambda: failures[0] if failures else None):
        assert await loop.sock_recv(manager, 1024) == b"WATCHDOG=1"
        failures.append("a step has not ended for 61 s")
        await clock.outlast(30.0)
        assert await loop.sock_recv(manager, 1024) == b"STATUS=about to be restarted: a step has not ended for 61 s"
    with pytest.raises(BlockingIOError):
        manager.recv(1024)
