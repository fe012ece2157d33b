"""Tries an image as a cluster would run it, and prints what it saw.

    python -m tools.images.check worker-cpu gateway
    python -m tools.images.check worker-cpu --engine "podman --runtime runc" --run "--ulimit nofile=4096:4096"

The container has a read-only root, no capability, no way to more rights, and two volumes. The check asks it for its
health by the image's own command, looks at who it is and what it can write, talks digits to a worker (or opens the
gateway's page), ends it with SIGTERM, and starts it once more with the cache that it left. Status 1 where something is
not as it should be. The network is the host's, with free ports.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from antiphon import __version__
from antiphon_edge import Codec, WavReader
from antiphon_number_clerk import NUMBER_CLERK
from tools.demo.__main__ import PERSON
from tools.demo.conversation import converse
from tools.harness import loopback
from tools.harness.fleet import unused_addresses

SAID = "you said three seven one"  # to the first of three turns; the model itself is not what is tried here
READY_S = 600.0  # a busy machine that compiles the step
PLACES = ("/", "/opt/antiphon", "/etc", "/tmp", "/var/cache/antiphon")  # noqa: S108 - of the container
LOOK = f"import os; print(os.getuid(), [place for place in {PLACES} if os.access(place, os.W_OK)])"
LOCKED = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=host"]


@dataclass(frozen=True)
class Engine:
    """A container engine, and what it is to be given with every `run`."""

    command: list[str]
    options: list[str]

    def __call__(self, *arguments: str) -> str:
        """Runs the engine to its end and returns what it printed.

        Raises:
            SystemExit: it failed; the message has its last words.
        """
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def succeeds(self, *arguments: str) -> bool:
        """Whether the engine ends with status 0."""
        return subprocess.run([*self.command, *arguments], capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Running:
    """A container that serves."""

    engine: Engine
    name: str
    address: str
    ready_s: float  # from its start to the first good answer of the image's health command

    def look(self) -> str:
        """Its user's number, and which of the places that matter it can write."""
        return self.engine("exec", self.name, "python", "-c", LOOK)

    def end(self) -> tuple[int, float]:
        """Asks it to end; its exit status and how long that took."""
        start = time.perf_counter()
        self.engine("stop", "--time=60", self.name)
        status = self.engine("inspect", "--format={{.State.ExitCode}}", self.name)
        return int(status), time.perf_counter() - start


@contextmanager
def running(engine: Engine, tag: str, cache: str, *arguments: str) -> Iterator[Running]:
    """Runs a container until the block ends; it is well when the block begins."""
    address, metrics = unused_addresses(2)
    told = [f"--env=ANTIPHON_LISTEN={address}", f"--env=ANTIPHON_METRICS_LISTEN={metrics}"]
    volumes = [f"--volume={cache}:/var/cache/antiphon", "--tmpfs=/tmp:rw,exec,mode=1777"]
    name = f"antiphon-check-{address.rpartition(':')[2]}"
    start = time.perf_counter()
    engine("run", "--detach", f"--name={name}", *LOCKED, *volumes, *told, *engine.options, tag, *arguments)
    try:
        health = json.loads(engine("inspect", name))[0]["Config"]["Healthcheck"]["Test"]
        assert health[0] == "CMD", health
        while not engine.succeeds("exec", name, *health[1:]):
            if time.perf_counter() - start > READY_S or not engine.succeeds("exec", name, "true"):
                raise SystemExit(f"{tag} is not well: {engine('logs', name)}")
            time.sleep(0.5)
        yield Running(engine, name, address, time.perf_counter() - start)
    finally:
        engine("rm", "--force", "--volumes", name)


def words(address: str) -> str:
    """What the number clerk says to the demonstration's person."""
    codec = Codec.load(NUMBER_CLERK / "codec")
    with WavReader(PERSON, codec.spec.sample_rate_hz, codec.spec.frame_samples) as reader:
        samples = np.concatenate(list(reader))
    heard = asyncio.run(converse(address, codec, samples))
    return " ".join(word for _, word in heard.words)


def check_worker(engine: Engine, tag: str, cache: str) -> Iterator[tuple[str, object, bool]]:
    """What is looked at, what was seen, and whether that is right."""
    for which in ("first", "second"):
        with running(engine, tag, cache, "serve", "--insecure") as container:
            yield f"{which} start: seconds until well", round(container.ready_s, 1), True
            if which == "first":
                seen = container.look()
                yield "user and places that it can write", seen, seen == "1000 ['/tmp', '/var/cache/antiphon']"
                said = words(container.address)
                yield "the clerk says", said, SAID in said
            status, end_s = container.end()
            yield "exit status on SIGTERM", status, status == 0
            yield "seconds until it has ended", round(end_s, 1), end_s < 30


def check_gateway(engine: Engine, tag: str, cache: str) -> Iterator[tuple[str, object, bool]]:
    """The same of the gateway, in front of a worker's image."""
    worker = tag.replace("gateway", "worker-cpu")
    with (
        running(engine, worker, f"{cache}-worker", "serve", "--insecure") as behind,
        running(engine, tag, cache, "serve", "--insecure", "--server", behind.address) as container,
    ):
        yield "seconds until well", round(container.ready_s, 1), True
        seen = container.look()
        yield "user and places that it can write", seen, seen == "1000 ['/tmp', '/var/cache/antiphon']"
        page = loopback.get(f"http://{container.address}/")
        yield "bytes of the page", len(page), b"<html" in page.lower()
        status, end_s = container.end()
        yield "exit status on SIGTERM", status, status == 0
        yield "seconds until it has ended", round(end_s, 1), end_s < 30


CHECKS = {"worker-cpu": check_worker, "gateway": check_gateway}


def main() -> None:
    """Checks the images in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=list(CHECKS))
    parser.add_argument("--engine", default="podman", help="command of the engine (default: %(default)s)")
    parser.add_argument("--run", default="", help="what else to give to every `run`")
    arguments = parser.parse_args()
    engine = Engine(shlex.split(arguments.engine), shlex.split(arguments.run))
    right = True
    for name in arguments.names:
        tag, cache = f"antiphon-{name}:{__version__}", f"antiphon-check-{name}"
        size = float(json.loads(engine("image", "inspect", tag))[0]["Size"]) / 1e6
        print(f"{tag}: {size:.0f} MB")
        volumes = (cache, f"{cache}-worker")
        try:
            for what, seen, good in CHECKS[name](engine, tag, cache):
                print(f"  {what}: {seen}{'' if good else '   WRONG'}", flush=True)
                right &= good
        finally:
            for volume in volumes:
                engine.succeeds("volume", "rm", "--force", volume)
    sys.exit(not right)


if __name__ == "__main__":
    main()
