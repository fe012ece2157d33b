"""Runs a fleet on this machine: workers behind Envoy with the configuration of `cloud/deploy/envoy/`."""

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
START_S = 120.0  # for a busy machine; usually 1 s
PORTS = range(20_000, 32_000)  # below the ephemeral ports


@dataclass(frozen=True)
class Envoy:
    """A running Envoy: the address for edges, and that of its admin interface."""

    address: str
    admin: str
    process: subprocess.Popen[bytes]

    def active_requests(self) -> dict[str, int]:
        """Envoy's open streams to each healthy worker, by the worker's address."""
        return {
            _address(host["address"]): int(_stat(host, "rq_active"))
            for host in self._hosts()
            if host["health_status"].get("eds_health_status") == "HEALTHY" and len(host["health_status"]) == 1
        }

    def wait_until_healthy(self, workers: int) -> None:
        """Waits until Envoy has exactly that many healthy workers.

        Raises:
            TimeoutError: this takes longer than `START_S`.
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
    """Runs Envoy with the shipped configuration in front of `workers` (HOST:PORT each), on free ports."""
    with started(configuration(workers)) as running:
        yield running


@contextmanager
def started(settings: dict[str, Any]) -> Iterator[Envoy]:
    """Runs Envoy with these settings until the block ends."""
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
    """The shipped configuration; only the addresses differ."""
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
    """Workers behind Envoy, each with its own address, which it keeps when restarted."""

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
        """Starts a worker at `address`; see `worker_process.start`."""
        return worker_process.start("--listen", address, *self.arguments, program=self.program, **self.options)

    def restart(self, index: int) -> None:
        """Starts a worker again at its old address; waits for its end first."""
        with self.workers[index].process as process:  # closes its pipes
            process.wait(worker_process.END_TIMEOUT_S)
            self.workers[index] = self.start(self.workers[index].address)

    def mend(self) -> None:
        """Thaws frozen workers and restarts ended ones; returns once all are healthy and without sessions."""
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
        """Ends all workers, in any state."""
        with ExitStack() as stack:
            for worker in self.workers:
                stack.callback(worker.end)


@contextmanager
def fleet(
    *arguments: str | Path, size: int = 3, program: Sequence[str | Path] = SERVE, **options: Any
) -> Iterator[Fleet]:
    """Runs `size` workers behind Envoy until the block ends; all are healthy when it starts.

    Args:
        arguments: flags of every worker.
        size: number of workers.
        program: see `worker_process.start`.
        options: passed to Popen.
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
    """Local addresses that are free, with ports that the system does not assign by itself."""
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
