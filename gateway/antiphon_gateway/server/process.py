"""The gateway's process: its port, its workers, health, and a clean end on SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from aiohttp import web

from antiphon.address import join_address, split_address
from antiphon.errors import AntiphonError
from antiphon.serving.collector import open_traces
from antiphon.serving.monitor import Monitor, loop_is_stuck
from antiphon.serving.reload import Reread, reloading, settle
from antiphon.serving.status import State, Status
from antiphon.serving.systemd import Systemd
from antiphon_edge.client.reconnect import PASSING
from antiphon_gateway.access.admission import Access, Limits
from antiphon_gateway.calls.capacity import Capacity
from antiphon_gateway.calls.codec_threads import CodecThreads
from antiphon_gateway.calls.fleet import Fleet
from antiphon_gateway.calls.record import Watch
from antiphon_gateway.doors.gateway import Gateway
from antiphon_gateway.doors.telephony import audiosocket
from antiphon_gateway.doors.wyoming import door as wyoming
from antiphon_gateway.metrics import Metrics
from antiphon_gateway.server.application import application
from antiphon_gateway.server.config import GatewayConfig
from antiphon_gateway.server.tcp_port import TcpPort
from antiphon_gateway.server.tls import Certificate, port_certificate
from antiphon_gateway.server.worker_watch import WorkerWatch

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
RETRY_S = 1.0  # between two looks for a worker that has not answered yet


class Server:
    """A gateway with its ports, until the block ends.

    async with Server(config) as server:
        await server.find_workers()
        ...
    """

    def __init__(
        self, config: GatewayConfig, reread: Reread[Limits] | None = None, manager: Systemd | None = None
    ) -> None:
        self._reread = reread
        self.manager = manager or Systemd({})
        self.address = ""
        """HOST:PORT as bound (port 0 picks one)."""
        self.metrics_address: str | None = None
        self.tcp_addresses: dict[str, str] = {}
        """The same of the ports beside it, by protocol."""
        self.gateway = Gateway(
            CodecThreads(config.codec_threads),
            Capacity(config.calls),
            Access(config.access),
            Watch(Metrics(config.name), open_traces(config.tracing, "antiphon-gateway", config.listen)),
            config.static,
        )
        self.workers: WorkerWatch | None = None
        """Of the workers, once they have answered."""
        self._config = config
        self._certificate: Certificate | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Server:
        """Opens the ports: doors answer UNAVAILABLE until workers have answered.

        Raises:
            AntiphonError: an address cannot be listened on, or not safely.
        """
        gateway, config = self.gateway, self._config
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, gateway.watch.traces.close)
            stack.enter_context(gateway.threads)
            gateway.access.start()
            stack.push_async_callback(asyncio.to_thread, gateway.access.stop)
            if config.metrics_listen:
                monitor = self._monitor(config.metrics_listen)
                stack.push_async_callback(asyncio.to_thread, monitor.stop)
                self.metrics_address = await asyncio.to_thread(monitor.start)
            self._certificate = port_certificate(config.listen, config.tls, config.insecure)
            context = self._certificate.context if self._certificate else None
            runner = web.AppRunner(
                application(gateway, config.doors.twilio), handle_signals=False, access_log=None, shutdown_timeout=0.5
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            host, port = split_address(config.listen)
            try:
                await web.TCPSite(runner, host, port, ssl_context=context).start()
            except OSError as error:
                why = f"cannot listen on {config.listen}: {error.strerror or error}"
                raise AntiphonError(f"{why}; choose another with --listen HOST:PORT") from None
            self.address = join_address(host, runner.addresses[0][1])
            stack.push_async_callback(self.hang_up)
            await self._open_tcp_ports(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def _open_tcp_ports(self, stack: AsyncExitStack) -> None:
        doors, gateway = self._config.doors, self.gateway
        for listen, port in (
            (doors.audiosocket, TcpPort("AudioSocket", "--audiosocket", partial(audiosocket.serve, gateway))),
            (doors.wyoming, TcpPort("Wyoming", "--wyoming", partial(wyoming.serve, gateway, doors.languages))),
        ):
            if listen is not None:
                self.tcp_addresses[port.name] = await port.open(listen, self._config.insecure)
                stack.push_async_callback(port.close)

    def reload(self) -> None:
        """Reads again what may have changed: the settings, API keys and the certificate."""
        with self.manager.reloading():
            if (settled := settle(self._reread)) is not None:
                self.gateway.access.limits = settled.limits
            logger.info("reading again what may have changed")
            self.gateway.access.reload()
            if self._certificate is not None:
                self._certificate.reload()

    async def find_workers(self) -> None:
        """Asks the workers what they serve until one of each kind has answered.

        Raises:
            AntiphonError: an answer that cannot be used.
        """
        workers, gateway = self._config.workers, self.gateway
        gateway.dialogue, gateway.transcription, gateway.speech = await asyncio.gather(
            self._find(workers.dialogue), self._find(workers.transcription), self._find(workers.speech)
        )
        fleet = gateway.dialogue
        if fleet is not None and not fleet.speaks:  # whoever names one server may serve any model
            gateway.dialogue, gateway.transcription = None, gateway.transcription or fleet
        elif fleet is not None and not fleet.listens:
            gateway.dialogue, gateway.speech = None, gateway.speech or fleet
        kinds = {
            "a dialogue": gateway.dialogue,
            "speech to text": gateway.transcription,
            "text to speech": gateway.speech,
        }
        self.workers = WorkerWatch({kind: fleet for kind, fleet in kinds.items() if fleet is not None})
        watching = asyncio.create_task(self.workers.run())
        self._stack.callback(watching.cancel)

    async def _find(self, addresses: Sequence[str]) -> Fleet | None:
        workers = self._config.workers
        while addresses:
            try:
                return await Fleet.find(addresses, workers.credentials, workers.cache)
            except PASSING as error:
                logger.info("no worker yet: %s", error)
                await asyncio.sleep(RETRY_S)
        return None

    async def drain(self) -> None:
        """Lets no more callers in, and returns when the last has left or the time is up."""
        self.manager.stopping("draining")
        self.gateway.capacity.drain()
        try:
            async with asyncio.timeout(self._config.drain_s):
                await self.gateway.capacity.empty()
        except TimeoutError:
            logger.info("%d calls are ended", self.gateway.capacity.held)

    def not_ready(self) -> str | None:
        """Why no caller is let in; None where they are."""
        if self.gateway.capacity.draining:
            return "draining"
        return self.workers.failure if self.workers else "no worker has answered yet"

    def status(self) -> Status:
        """How it is, in a few numbers."""
        gateway, metrics = self.gateway, self.gateway.watch.metrics
        fleet = gateway.dialogue or gateway.transcription or gateway.speech
        serving: State = "serving" if self.not_ready() is None else "starting"
        return Status(
            "gateway",
            "draining" if gateway.capacity.draining else serving,
            model="" if fleet is None else fleet.model.name,
            sessions=gateway.capacity.held,
            slots=gateway.capacity.calls,
            frames=metrics.frames,
            late=metrics.late,
            refused=metrics.callers_refused,
        )

    async def hang_up(self) -> None:
        """Says to the clients that are left that the gateway ends."""
        await asyncio.gather(
            *(socket.close(code=1012, message=b"this gateway ends: connect again") for socket in self.gateway.sockets),
            return_exceptions=True,
        )

    def _monitor(self, listen: str) -> Monitor:
        """The port for operators."""
        loop, gateway = asyncio.get_running_loop(), self.gateway
        watched = gateway.watch.metrics
        watched.watch("tasks", lambda: len(asyncio.all_tasks(loop)))
        watched.watch("calls", lambda: gateway.capacity.held)
        watched.watch("places", lambda: gateway.capacity.calls)
        watched.watch("kinds_lost", lambda: len(self.workers.lost) if self.workers else 0)
        checks = {
            "/healthz": lambda: loop_is_stuck(loop),
            "/readyz": lambda: loop_is_stuck(loop) or self.not_ready(),
        }
        return Monitor(listen, gateway.watch.metrics.registry, checks, self.status)


async def run(config: GatewayConfig, ready: Callable[[str], None], reread: Reread[Limits] | None = None) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        config: where the workers are, where to listen, and how to end.
        ready: called with `HOST:PORT` once callers are let in.
        reread: what SIGHUP brings; None where no file settles anything.

    Raises:
        AntiphonError: the port cannot be bound, or a worker's answer cannot be used.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, ended.set)
    try:
        server = Server(config, reread, Systemd())
        with reloading(server.reload):
            async with server, server.manager.watched(lambda: None):
                await _live(server, ready, ended)
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


async def _live(server: Server, ready: Callable[[str], None], ended: asyncio.Event) -> None:
    """The life of a server whose ports are open: looking for workers, serving, draining."""
    finding, ending = asyncio.create_task(server.find_workers()), asyncio.create_task(ended.wait())
    try:
        await asyncio.wait({finding, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not finding.done():
            return
        finding.result()
        gc.collect()
        gc.freeze()  # what was loaded stays: to look through it for garbage would hold up every call
        ready(server.address)
        server.manager.ready(f"serving at {server.address}")
        await ending
        ended.clear()  # a second signal does not wait for the callers
        draining, ending = asyncio.create_task(server.drain()), asyncio.create_task(ended.wait())
        await asyncio.wait({draining, ending}, return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
    finally:
        finding.cancel()
        ending.cancel()
