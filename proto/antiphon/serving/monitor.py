"""The operators' port: /metrics, /healthz, /readyz and a page over plain HTTP, served by its own thread.

It answers even while the event loop or the engine is stuck, which is when operators look. The port asks for no key,
so its connections are bounded in number and time. When all are taken, a new connection ends the oldest.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from antiphon.address import join_address, split_address
from antiphon.errors import AntiphonError
from antiphon.serving.status import Status, encode

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 5.0  # from the connection to the answer, for slow requests too
CONNECTIONS = 32  # at once, one thread each
LOOK_S = 0.1  # between checks for connections that are too old
DESCRIPTORS_S = 0.1  # wait when the process has no file descriptor left
LOOP_TIMEOUT_S = 1.0  # an event loop that takes longer is stuck

PAGE = Path(__file__).parent / "page"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/status.css": ("status.css", "text/css"),
    "/status.js": ("status.js", "text/javascript"),
}
HEADERS = [  # the page asks nobody else for anything, and stands in no other page
    ("Content-Security-Policy", "default-src 'self'; img-src data:; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
]

Check = Callable[[], str | None]  # the failure; None if healthy


class Monitor:
    """The HTTP port.

    Args:
        listen: HOST:PORT; port 0 picks one.
        registry: what /metrics shows.
        checks: path → the failure; None answers 200, a sentence 503.
        status: how the server is, for /status.json and the page.
    """

    def __init__(
        self, listen: str, registry: CollectorRegistry, checks: Mapping[str, Check], status: Callable[[], Status]
    ) -> None:
        self._listen = listen
        self._metrics = make_wsgi_app(registry)
        self._checks = checks
        self._status = status
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> str:
        """Opens the port and returns HOST:PORT as bound.

        Raises:
            AntiphonError: listening on the address fails.
        """
        host, port = split_address(self._listen)
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            server = type("Server", (_Server,), {"address_family": family})((host, port), _Handler)
        except OSError as error:
            raise AntiphonError(
                f"cannot listen on {self._listen} for metrics: {error.strerror}; choose another with --metrics-listen"
            ) from None
        server.set_app(self._answer)
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(LOOK_S,), name="metrics", daemon=True)
        self._thread.start()
        return join_address(host, server.server_port)

    def stop(self) -> None:
        """Closes the port; safe to call twice, or if it never opened."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            answer: Iterable[bytes] = self._metrics(environ, start_response)
            return answer
        if path in FILES:
            name, kind = FILES[path]
            start_response("200 OK", [("Content-Type", kind), *HEADERS])
            return [(PAGE / name).read_bytes()]
        if path == "/status.json":
            start_response("200 OK", [("Content-Type", "application/json"), *HEADERS])
            return [encode(self._status())]
        if path in self._checks:
            wrong = self._checks[path]()
            status, text = ("503 Service Unavailable", wrong) if wrong else ("200 OK", "ok")
        else:
            status, text = "404 Not Found", f"there is /, /metrics, /status.json, {', '.join(self._checks)} here"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{text}\n".encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # the default of 5 fills at once, and then a probe waits for seconds

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._since_s: dict[socket.socket, float] = {}  # of open connections, the oldest first
        self._lock = threading.Lock()

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection. Without a free descriptor it stays in the queue, and this waits a moment."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                time.sleep(DESCRIPTORS_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves the connection on its own thread; ends the oldest when full."""
        with self._lock:
            if len(self._since_s) >= CONNECTIONS:
                self._end(next(iter(self._since_s)))
            self._since_s[request] = time.monotonic()
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Ends connections that are too old; called every `LOOK_S`."""
        with self._lock:
            for request, since_s in list(self._since_s.items()):
                if time.monotonic() - since_s < REQUEST_TIMEOUT_S:
                    break
                self._end(request)

    def shutdown_request(self, request: Any) -> None:
        """Closes the connection."""
        with self._lock:
            self._since_s.pop(request, None)
            super().shutdown_request(request)

    def _end(self, request: socket.socket) -> None:
        """Shuts the connection down, which wakes the thread that serves it."""
        del self._since_s[request]
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    def server_bind(self) -> None:
        """Binds without looking up this machine's name, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores scrapers that hung up."""
        logger.debug("a request for metrics from %s failed", client_address)


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        logger.debug(format, *args)


def loop_is_stuck(loop: asyncio.AbstractEventLoop) -> str | None:
    """The event loop's failure, checked from another thread; None if it answers in time."""
    answered = threading.Event()
    try:
        loop.call_soon_threadsafe(answered.set)
    except RuntimeError:
        return "the event loop has ended"
    return None if answered.wait(LOOP_TIMEOUT_S) else f"the event loop has not answered for {LOOP_TIMEOUT_S:g} s"
