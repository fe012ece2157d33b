"""`health`: what a container engine asks again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from antiphon.cli.health import UnwellError, health_command
from antiphon.serving.monitor import Check, Monitor
from antiphon.serving.status import Status
from antiphon_cloud.cli.commands import commands as cloud
from antiphon_gateway.cli.commands import commands as gateway
from tests.support.ports import unused_address


@contextmanager
def server(healthz: Check, readyz: Check, listen: str = "127.0.0.1:0") -> Iterator[str]:
    monitor = Monitor(
        listen, CollectorRegistry(), {"/healthz": healthz, "/readyz": readyz}, lambda: Status("worker", "serving")
    )
    try:
        yield monitor.start()
    finally:
        monitor.stop()


def asked(*arguments: str, **variables: str) -> BaseException | None:
    """What the command ends with; None where all is well."""
    result = CliRunner(env=variables).invoke(health_command, arguments)
    return None if result.exit_code == 0 else result.exception


def test_a_server_that_is_well_is_status_0() -> None:
    with server(lambda: None, lambda: "loading the model") as address:
        assert asked("--metrics-listen", address) is None


def test_one_that_lets_nobody_in_says_why_where_it_is_asked_for() -> None:
    with server(lambda: None, lambda: "loading the model") as address:
        ended = asked("--metrics-listen", address, "--ready")
    assert isinstance(ended, UnwellError)
    assert str(ended) == f"{address}/readyz says: loading the model"


def test_it_finds_a_server_on_all_addresses_by_the_variable_that_the_server_has() -> None:
    with server(lambda: None, lambda: None, "0.0.0.0:0") as address:
        assert asked("--ready", ANTIPHON_METRICS_LISTEN=address) is None


def test_nobody_there_is_one_sentence() -> None:
    ended = asked("--metrics-listen", unused_address())
    assert isinstance(ended, UnwellError)
    assert "does not answer" in str(ended)


@pytest.mark.parametrize("commands", [cloud, gateway], ids=["antiphon-cloud", "antiphon-gateway"])
def test_both_servers_have_the_command(commands: object) -> None:
    assert commands.commands["health"] is health_command  # type: ignore[attr-defined]
