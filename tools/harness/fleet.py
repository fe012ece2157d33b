"""A fleet on this machine: workers behind the Envoy that `cloud/deploy/envoy/` configures."""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import Any

import yaml

from antiphon.address import split_address
from tools import ROOT
from tools.harness import loopback, worker_process
from tools.harness.worker_process import BIN, SERVE, Worker

ENVOY_CONFIG = ROOT / "cloud/deploy/envoy/envoy.yaml"
START_S = 120.0  # of the busiest machine; usually a second
PORTS = range(20_000, 32_000)  # below those that a system gives to whoever asks for any


@dataclass(frozen=True)
class Envoy:
    """A running Envoy: where edges connect, and where it is asked how it sees its workers."""

    address: str
    admin: str
    process: subprocess.Popen[bytes]

    def active_requests(self) -> dict[str, int]:
        """Streams that Envoy has open to each worker, by the worker's address; healthy workers only."""
        return {
            _address(host["address"]): int(_stat(host, "rq_active"))
            for host in self._hosts()
            if host["health_status"].get("eds_health_status") == "HEALTHY" and len(host["health_status"]) == 1
        }

    def wait_until_healthy(self, workers: int) -> None:
        """Returns once Envoy sends sessions to exactly that many workers.

        Raises:
            TimeoutError: it does not come to that.
        """
        deadline = time.monotonic() + START_S
        while len(healthy := self.active_requests()) != workers:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Envoy sees {len(healthy)} healthy workers, not {workers}")
            time.sleep(0.02)

    def _hosts(self) -> list[dict[str, Any]]:
        clusters = _get(f"http://{self.admin}/clusters?format=json")["cluster_statuses"]
        hosts: list[dict[str, Any]] = clusters[0].get("host_statuses", [])
        return hosts


@contextmanager
def envoy(workers: Sequence[str]) -> Iterator[Envoy]:
    """The shipped configuration in front of `workers` (HOST:PORT each), on ports of its own."""
    with started(configuration(workers)) as running:
        yield running


@contextmanager
def started(settings: dict[str, Any]) -> Iterator[Envoy]:
    """Envoy with these settings, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="antiphon-envoy-") as name:
        folder = Path(name)
        (folder / "envoy.json").write_text(json.dumps(settings))
        admin_file, log = folder / "admin", folder / "log"
        command = [BIN / "envoy", "-c", folder / "envoy.json", "--concurrency", "1", "--disable-hot-restart"]
        command += ["--admin-address-path", admin_file, "--log-path", log, "--log-level", "warning"]
        with subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                admin = _started(process, admin_file, log)
                listeners = _get(f"http://{admin}/listeners?format=json")["listener_statuses"]
                yield Envoy(_address(listeners[0]["local_address"]), admin, process)
            finally:
                process.terminate()


def configuration(workers: Sequence[str]) -> dict[str, Any]:
    """What is shipped, with the addresses of this machine: nothing else differs."""
    shipped: dict[str, Any] = yaml.safe_load(ENVOY_CONFIG.read_text())
    any_port = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    shipped["admin"]["address"] = shipped["static_resources"]["listeners"][0]["address"] = any_port
    (locality,) = shipped["static_resources"]["clusters"][0]["load_assignment"]["endpoints"]
    locality["lb_endpoints"] = []
    for worker in workers:
        host, port = split_address(worker)
        address = {"socket_address": {"address": host, "port_value": port}}
        locality["lb_endpoints"].append({"endpoint": {"address": address}})
    return shipped


@dataclass
class Fleet:
    """Workers behind Envoy, each on an address of its own that it keeps when it is started again."""

    envoy: Envoy
    arguments: tuple[str | Path, ...]
    program: Sequence[str | Path]
    options: dict[str, Any]
    workers: list[Worker] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where edges connect."""
        return self.envoy.address

    def start(self, address: str) -> Worker:
        """A worker at `address`; see `worker_process.start`."""
        return worker_process.start("--listen", address, *self.arguments, program=self.program, **self.options)

    def restart(self, index: int) -> None:
        """Starts a worker that has ended, or is ending, at its old address."""
        with self.workers[index].process as process:  # closes what it held
            process.wait(worker_process.END_TIMEOUT_S)
            self.workers[index] = self.start(self.workers[index].address)

    def mend(self) -> None:
        """Thaws the frozen and starts the dead; returns once all are healthy and no session is left."""
        for worker in self.workers:
            worker.thaw()
        ended = [i for i, worker in enumerate(self.workers) if worker.ending or worker.process.poll() is not None]
        with ThreadPoolExecutor(len(self.workers)) as starters:
            list(starters.map(self.restart, ended))
        self.envoy.wait_until_healthy(len(self.workers))
        deadline = time.monotonic() + START_S
        while any(self.envoy.active_requests().values()) and time.monotonic() < deadline:
            time.sleep(0.02)

    def end(self) -> None:
        """Ends every worker, whatever state it is in."""
        with ExitStack() as stack:
            for worker in self.workers:
                stack.callback(worker.end)


@contextmanager
def fleet(
    *arguments: str | Path, size: int = 3, program: Sequence[str | Path] = SERVE, **options: Any
) -> Iterator[Fleet]:
    """`size` workers behind Envoy until the block ends, all of them healthy at its start.

    Args:
        arguments: every worker's flags.
        size: how many.
        program: as `worker_process.start`.
        options: go to Popen.
    """
    addresses = unused_addresses(size)
    with ExitStack() as stack:
        proxy = stack.enter_context(envoy(addresses))
        running = Fleet(proxy, arguments, program, options)
        with ThreadPoolExecutor(size) as starters:
            starting = [starters.submit(running.start, address) for address in addresses]
        stack.callback(running.end)
        for each in starting:
            running.workers.append(each.result())
        proxy.wait_until_healthy(size)
        yield running


def unused_addresses(count: int) -> list[str]:
    """Addresses of this machine where nobody listens now, and that nobody is given who does not ask for them."""
    found: list[str] = []
    with ExitStack() as stack:
        for port in SystemRandom().sample(PORTS, len(PORTS)):
            if len(found) == count:
                break
            with suppress(OSError):  # taken
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(f"127.0.0.1:{port}")
    return found


def _started(process: subprocess.Popen[bytes], admin_file: Path, log: Path) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        if admin_file.exists() and (admin := admin_file.read_text()):
            return admin
        time.sleep(0.02)
    raise RuntimeError(f"Envoy did not start: {log.read_text() if log.exists() else 'it said nothing'}")


def _get(url: str) -> Any:
    return json.loads(loopback.get(url))


def _address(found: dict[str, Any]) -> str:
    return f"{found['socket_address']['address']}:{found['socket_address']['port_value']}"


def _stat(host: dict[str, Any], name: str) -> float:
    return float(next((stat.get("value", 0) for stat in host["stats"] if stat["name"] == name), 0))
