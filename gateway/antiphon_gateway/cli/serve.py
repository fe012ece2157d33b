"""`serve`: lets clients in until SIGTERM."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import uvloop

from antiphon import logs
from antiphon.cli.command_line import THREADS, Address, Number, name_option, option
from antiphon.cli.settings_option import Reread
from antiphon.cli.tracing_options import tracing_options
from antiphon_gateway.cli.access_options import LIMITS, access_options, limits_of
from antiphon_gateway.cli.door_options import door_options
from antiphon_gateway.cli.worker_options import worker_options

if TYPE_CHECKING:
    from antiphon.serving.collector import Tracing
    from antiphon_gateway.access.admission import Limits, Rules
    from antiphon_gateway.server.config import Doors, Workers

MAX_SECONDS = 86_400


@click.command("serve")
@worker_options
@option(
    "--listen",
    type=Address(),
    default="127.0.0.1:8080",
    metavar="HOST:PORT",
    help="Address to listen on for clients; port 0 picks one.",
)
@name_option
@option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain to show to clients (PEM).")
@option("--tls-key", type=click.Path(path_type=Path), help="Its private key (PEM).")
@option("--insecure", is_flag=True, help="Serve other machines in plaintext; without it only loopback is.")
@door_options
@option("--static", type=click.Path(path_type=Path), help="Folder of a page to serve at /; our own where absent.")
@option(
    "--metrics-listen",
    type=Address(),
    metavar="HOST:PORT",
    help="Address of /metrics (Prometheus), /healthz, /readyz and a page, over plain HTTP; nowhere where absent.",
)
@option(
    "--drain",
    "drain_s",
    type=Number(0, MAX_SECONDS),
    default=5.0,
    help="Seconds that callers get to end on SIGTERM.",
)
@option("--calls", type=click.IntRange(1, 10_000), default=64, help="Calls at once.")
@option(
    "--threads",
    type=THREADS,
    help="Threads in which all calls encode and decode; as many as there are cores where absent.",
)
@access_options
@tracing_options
def serve_command(
    workers: Workers,
    access: Rules,
    listen: str,
    name: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    insecure: bool,
    doors: Doors,
    static: Path | None,
    metrics_listen: str | None,
    drain_s: float,
    calls: int,
    threads: int | None,
    tracing: Tracing | None,
) -> None:
    """Serve clients until SIGTERM. The first line on standard output is `listening on HOST:PORT`."""
    from antiphon.serving.reload import Settled
    from antiphon_gateway.server.config import GatewayConfig
    from antiphon_gateway.server.process import run
    from antiphon_gateway.server.tls import TlsFiles

    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together: give both")
    config = GatewayConfig(
        workers=workers,
        listen=listen,
        tls=TlsFiles(tls_cert, tls_key) if tls_cert and tls_key else None,
        insecure=insecure,
        doors=doors,
        static=static,
        metrics_listen=metrics_listen,
        drain_s=drain_s,
        calls=calls,
        access=access,
        tracing=tracing,
        codec_threads=threads or os.cpu_count() or 1,
        name=name,
    )
    again = Reread(click.get_current_context(), ("log_level", *LIMITS))

    def reread() -> Settled[Limits]:
        values = again()
        return Settled(values["log_level"], limits_of(values))

    def ready(address: str) -> None:
        print(f"listening on {address}", flush=True)  # noqa: T201

    logs.set_name(name)
    uvloop.run(run(config, ready, reread))
