"""The worker's process: a bound port, health, reflection, and a clean end on SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from antiphon.address import join_address, split_address
from antiphon.channel import FLOW_CONTROL, KEEPALIVE
from antiphon.errors import AntiphonError
from antiphon.serving.collector import Tracing, open_traces
from antiphon.serving.monitor import Monitor, loop_is_stuck
from antiphon.serving.reload import Reread, reloading, settle
from antiphon.serving.systemd import Systemd
from antiphon.v1 import dialogue_pb2_grpc
from antiphon_cloud.metrics import Metrics
from antiphon_cloud.server import descriptors
from antiphon_cloud.server.access.fleet_limits import FleetLimits
from antiphon_cloud.server.access.known import KnownClients
from antiphon_cloud.server.access.rate_limit_service import RateLimitService
from antiphon_cloud.server.access.tls import Certificates, TlsFiles, server_credentials
from antiphon_cloud.server.health import HealthService
from antiphon_cloud.server.interceptor import HEALTH_SERVICE, SERVICE_NAME, Gate
from antiphon_cloud.server.service import DialogueService
from antiphon_cloud.server.worker import ServedModel, Worker
from antiphon_cloud.sessions.clients import Allowance

if TYPE_CHECKING:  # PyJWT is an extra
    from antiphon.serving.tokens import TokenRules

logger = logging.getLogger(__name__)

T = TypeVar("T")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
MAX_MESSAGE_BYTES = 256 * 1024  # a frame is 20 bytes; the rest is room for a resumed session's history

CHANNEL_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a taken port is an error, not a second listener
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.server_handshake_timeout_ms", 10_000),  # TLS and HTTP/2, for one who connects and says nothing
    ("grpc.max_connection_idle_ms", 30_000),  # without a call
    ("grpc.max_concurrent_streams", 256),  # of a connection; a load balancer opens another for more
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 500),  # a load balancer looks every second whether we are there
    *KEEPALIVE,
    *FLOW_CONTROL,
)
END_S = 0.25  # for the statuses of ended calls to reach their clients


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How a worker listens and ends."""

    listen: str = "127.0.0.1:50051"
    reflection: bool = False
    drain_s: float = 5.0
    tls: TlsFiles | None = None
    insecure: bool = False  # plaintext may leave this machine
    api_keys: Path | None = None  # file of the keys that are let in; None lets everyone in
    token_rules: TokenRules | None = None  # of tokens that are let in too; None takes none
    metrics_listen: str | None = None  # HOST:PORT of /metrics, /healthz and /readyz; None for none
    tracing: Tracing | None = None  # None for no spans
    allowance: Allowance = field(default_factory=Allowance)  # of a client whose key does not say otherwise
    fleet_limits: str | None = None  # HOST:PORT of a rate limit service; None for none
    name: str = ""  # of the worker, in its metrics and GetModel


class Server:
    """A gRPC server around one worker. The port answers from `bind` on: UNAVAILABLE until a model is served.

    Args:
        config: where it listens, and how it ends.
        reread: what a reload brings; None where no file settles anything.
        manager: that is told of what becomes of it.

    Raises:
        KeyFileError: the file of API keys cannot be used.
        AntiphonError: the collector of spans cannot be used.
        KeySetError: the file of an issuer's keys cannot be used.
    """

    def __init__(
        self, config: ServerConfig, reread: Reread[Allowance] | None = None, manager: Systemd | None = None
    ) -> None:
        self._reread = reread
        self.manager = manager or Systemd({})
        traces = open_traces(config.tracing, "antiphon-worker", config.listen)
        self.worker = Worker(config.allowance, config.name, traces)
        self.known = KnownClients.given(config.api_keys, config.token_rules, config.allowance)
        self.certificates = Certificates(config.tls) if config.tls else None
        self.metrics_address: str | None = None
        self._monitor: Monitor | None = None
        self._config = config
        self._service = DialogueService(self.worker)
        if config.fleet_limits:
            self.worker.fleet_limits = FleetLimits(RateLimitService(config.fleet_limits))
        self._health = HealthService("", SERVICE_NAME)
        self._gate = Gate(self.known, config.allowance, self.worker.refusals)
        connections = descriptors.connections(descriptors.raise_limit())
        options = (*CHANNEL_OPTIONS, ("grpc.max_allowed_incoming_connections", connections))
        self._server = grpc.aio.server(interceptors=[self._gate], options=options)
        dialogue_pb2_grpc.add_DialogueServiceServicer_to_server(self._service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if config.reflection:
            names = (SERVICE_NAME, HEALTH_SERVICE, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)

    async def bind(self) -> str:
        """Opens the port and returns `HOST:PORT` as bound (port 0 picks one).

        Raises:
            AntiphonError: the address cannot be listened on, or not safely.
        """
        if self._config.metrics_listen:
            self._monitor = self._watched(self._config.metrics_listen)
            self.metrics_address = await asyncio.to_thread(self._monitor.start)
            logger.info("metrics on http://%s/metrics", self.metrics_address)
        host, _ = split_address(self._config.listen)
        credentials = server_credentials(self._config.listen, self.certificates, self._config.insecure)
        try:
            if credentials is None:
                port = self._server.add_insecure_port(self._config.listen)
            else:
                port = self._server.add_secure_port(self._config.listen, credentials)
        except RuntimeError:
            port = 0
        if not port:
            raise AntiphonError(
                f"cannot listen on {self._config.listen}: the port is in use or the address is not this machine's; "
                "choose another with --listen HOST:PORT"
            )
        await self._server.start()
        if self.known is not None:
            self.known.start()
        return join_address(host, port)

    async def serve(self, served: ServedModel) -> None:
        """Opens the doors to sessions."""
        await served.engine.start(self._fail)
        self._gate.seat(served.engine.slots)
        self.worker.serve(served)
        if not self.worker.not_ready():  # the engine may have ended meanwhile
            self._health.announce(health_pb2.HealthCheckResponse.SERVING)

    def reload(self) -> None:
        """Reads again what may have changed: the settings, API keys and certificates."""
        with self.manager.reloading():
            if (settled := settle(self._reread)) is not None:
                self.worker.allowance = self._gate.allowance = settled.limits
                if self.known is not None:
                    self.known.settle(settled.limits)
            if (served := self.worker.serving) is not None:
                served.engine.set_log_level(logging.getLogger().level)
            logger.info("reading again what may have changed")
            for each in (self.known, self.certificates):
                if each is not None:
                    each.reload()

    async def drain(self) -> None:
        """Refuses new sessions, asks the live ones to move, and returns when the last has left or the time is up."""
        self.manager.stopping("draining")
        self.worker.drain()
        self._health.announce(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._service.drain(self._config.drain_s)

    async def stop(self) -> None:
        """Ends all calls and the engine."""
        if self.known is not None:
            await asyncio.to_thread(self.known.stop)
        await self._server.stop(grace=END_S)
        if self.worker.fleet_limits is not None:
            await self.worker.fleet_limits.close()
        if served := self.worker.serving:
            await served.engine.stop()
        if self._monitor:
            await asyncio.to_thread(self._monitor.stop)
        await asyncio.to_thread(self.worker.traces.close)

    def _fail(self, reason: str) -> None:
        """The engine has ended: first whoever picks a worker for new calls is told, then the calls that are here."""
        self._health.announce(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._service.send_away(reason)

    def _watched(self, listen: str) -> Monitor:
        """The port for operators."""
        loop = asyncio.get_running_loop()
        self.worker.metrics.watch("tasks", lambda: len(asyncio.all_tasks(loop)))
        checks = {
            "/healthz": lambda: loop_is_stuck(loop) or self.worker.not_alive(),
            "/readyz": lambda: loop_is_stuck(loop) or self.worker.not_ready(),
        }
        return Monitor(listen, self.worker.metrics.registry, checks, self.worker.status)


async def run(
    config: ServerConfig,
    load: Callable[[Metrics], ServedModel],
    ready: Callable[[str], None],
    reread: Reread[Allowance] | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        config: where to listen, and how to end.
        load: builds the served model, which counts in these metrics; runs in a thread, while the port already answers
            UNAVAILABLE.
        ready: called with `HOST:PORT` once sessions are admitted.
        reread: what SIGHUP brings; None where no file settles anything.

    Raises:
        AntiphonError: the port cannot be bound, or the model cannot be loaded.
    """
    server = Server(config, reread, Systemd())
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, ended.set)
    with reloading(server.reload):
        async with server.manager.watched(server.worker.not_alive):
            await _live(server, config, load, ready, ended)


async def _live(
    server: Server,
    config: ServerConfig,
    load: Callable[[Metrics], ServedModel],
    ready: Callable[[str], None],
    ended: asyncio.Event,
) -> None:
    """The server's life: bound, loading, serving, draining, stopped."""
    loop = asyncio.get_running_loop()
    address = await server.bind()
    loading, ending = _in_thread(partial(load, server.worker.metrics)), asyncio.create_task(ended.wait())
    try:
        either: set[asyncio.Future[Any]] = {loading, ending}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            served = loading.result()
            await server.serve(served)
            # What was loaded stays: looking through it for garbage would hold up every session for a frame or two.
            gc.collect()
            gc.freeze()
            ready(address)
            server.manager.ready(f"serving at {address}")
            failing = asyncio.create_task(served.engine.failed())
            await asyncio.wait({ending, failing}, return_when=asyncio.FIRST_COMPLETED)
            if failing.done():
                raise AntiphonError(f"{failing.result()}: start the worker again")
            failing.cancel()
            ended.clear()  # a second signal does not wait for the sessions
            logger.info("draining for at most %g s", config.drain_s)
            draining, ending = asyncio.create_task(server.drain()), asyncio.create_task(ended.wait())
            await asyncio.wait({draining, ending}, return_when=asyncio.FIRST_COMPLETED)
            draining.cancel()
    finally:
        loading.cancel()
        ending.cancel()
        for number in SIGNALS:
            loop.remove_signal_handler(number)
        await server.stop()


def _in_thread(function: Callable[[], T]) -> asyncio.Future[T]:
    """The result of `function`, run in a thread that does not keep the process alive: loading may take minutes."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return  # the worker has ended meanwhile
        if error is None:
            future.set_result(cast("T", result))
        else:
            future.set_exception(error)

    def call() -> None:
        result, error = None, None
        try:
            result = function()
        except Exception as raised:  # noqa: BLE001 - it is raised again where the future is awaited
            error = raised
        with suppress(RuntimeError):  # the loop has closed, and with it whoever waited
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=call, name="load", daemon=True).start()
    return future
