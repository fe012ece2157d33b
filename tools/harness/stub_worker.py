"""Runs a worker with the real service, engine and protocol, but a stub model whose step takes no time.

    python -m tools.harness.stub_worker --listen 127.0.0.1:0 --slots 64

Prints "listening on HOST:PORT" first, like `antiphon-cloud serve`. The load and chaos tools use it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import uvloop

from antiphon.spec import CodecSpec, Limits
from antiphon_cloud.codec.folder import CodecFolder
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.engine.host import StepperProcess
from antiphon_cloud.metrics import Metrics
from antiphon_cloud.server.access.tls import TlsFiles
from antiphon_cloud.server.process import ServerConfig, run
from antiphon_cloud.server.worker import ServedModel

CODEC = CodecSpec(b"\x07" * 32, 24_000, 1920, 8, 2048)


def main() -> None:
    """Serves until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--step-ms", type=float, default=0.0, help="time of a step, for any batch")
    parser.add_argument("--echo", metavar="CODEC", type=Path, help="serve this codec, and say what was heard")
    parser.add_argument("--drain", type=float, default=30.0, help="seconds that sessions have to leave after SIGTERM")
    parser.add_argument("--idle-timeout", type=float, default=30.0, help="seconds of silence that end a session")
    parser.add_argument("--codec", type=Path, help="folder of a codec to hand out (default: none)")
    parser.add_argument("--metrics-listen", metavar="HOST:PORT", help="a port for operators")
    parser.add_argument("--api-keys", type=Path, help="file of the keys that are let in (default: everyone is)")
    parser.add_argument("--tls-cert", type=Path, help="certificate chain to show (default: plaintext)")
    parser.add_argument("--tls-key", type=Path, help="its private key")
    arguments = parser.parse_args()

    def load(metrics: Metrics) -> ServedModel:
        runner = {"slots": arguments.slots, "step_s": arguments.step_ms / 1000, "echo": arguments.echo is not None}
        folder = arguments.echo or arguments.codec
        codec = CodecFolder(CODEC, ()) if folder is None else CodecFolder.open(folder)
        limits = Limits(arguments.slots, idle_timeout_ms=round(arguments.idle_timeout * 1000))
        engine = Engine(StepperProcess("tools.harness.stub_runner:load", runner), metrics=metrics)
        return ServedModel(engine, codec, lambda token: b"", limits)

    config = ServerConfig(
        listen=arguments.listen,
        drain_s=arguments.drain,
        metrics_listen=arguments.metrics_listen,
        api_keys=arguments.api_keys,
        tls=TlsFiles(arguments.tls_cert, arguments.tls_key) if arguments.tls_cert and arguments.tls_key else None,
    )
    uvloop.run(run(config, load, lambda address: print(f"listening on {address}", flush=True)))


if __name__ == "__main__":
    main()
