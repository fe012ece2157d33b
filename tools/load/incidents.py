"""Rehearses incidents of docs/runbook.md that are no fault of a machine, and says what a client and the metrics show.

    python -m tools.load.incidents [engine] [slow] [full] [proxy] [keys] [certificate]

    engine       the process that steps is killed: the worker ends with status 1, its session goes on elsewhere
    slow         steps take longer than a frame lasts
    full         more people than slots; then another worker is added
    proxy        one of two Envoys is killed
    keys         an API key is taken out of the file, and put back
    certificate  a renewal is half a file, then whole

`tools.load.chaos` has the others. Workers are stubs, whose replies are known. Each line is what was seen; the exit
status is 1 if it was not what the runbook says.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import trustme

from antiphon.errors import AntiphonError, NoFreeSlotError
from antiphon_edge import NEVER, Credentials, blocking
from tools.harness import loopback, worker_process
from tools.harness.fleet import envoy, unused_addresses
from tools.harness.relay import relay
from tools.harness.stub_worker import CODEC
from tools.harness.worker_process import BIN, STUB, Worker
from tools.load.client import run_session
from tools.load.load_test import Load, scripts, served

CODES = np.arange(CODEC.codebooks, dtype=np.int32)
PATIENCE_S = 60.0  # of a busy machine
Seen = tuple[str, object, bool]  # what was looked at, what was seen, and whether the runbook says so


@contextmanager
def watched(*arguments: str | Path) -> Iterator[tuple[Worker, str]]:
    """A stub worker, and the address of its operators' port."""
    (metrics,) = unused_addresses(1)
    told = ("--metrics-listen", metrics, *arguments)
    with worker_process.worker(*told, program=STUB, stderr=subprocess.DEVNULL) as started:
        yield started, metrics


def metric(address: str, name: str) -> float:
    """A sample of a worker's metrics, such as `antiphon_refusals_total{reason="slots"}`."""
    text = loopback.get(f"http://{address}/metrics").decode()
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def until(true: Callable[[], bool]) -> bool:
    """Whether it became true in time."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True


def opens(address: str, credentials: Credentials = Credentials()) -> str:  # noqa: B008 - frozen
    """What becomes of a newcomer: "served", or the kind of its error."""
    try:
        with blocking.connect(address, CODEC, seed=1, credentials=credentials, reconnect=NEVER) as session:
            session.exchange(CODES)
            return "served"
    except AntiphonError as error:
        return type(error).__name__


def engine() -> Iterator[Seen]:
    """The process that steps is killed, as by the kernel that needs memory."""
    with watched() as (first, metrics), watched() as (second, others):
        with blocking.connect([first.address, second.address], CODEC, seed=1) as session:
            session.exchange(CODES)
            children = subprocess.run(
                ["ps", "--no-headers", "-o", "pid", "--ppid", str(first.process.pid)],
                capture_output=True, text=True, check=True,
            ).stdout.split()  # fmt: skip
            yield "readyz before", loopback.get(f"http://{metrics}/readyz").decode().strip(), True
            for pid in map(int, children):
                subprocess.run(["kill", "-KILL", str(pid)], check=True)
            answered = sum(session.exchange(CODES).sequence > 0 for _ in range(10))
            yield "frames answered after it", answered, answered == 10
            yield "the session is", "at the other worker", session.address == second.address
        status = first.process.wait(PATIENCE_S)
        yield "exit status of the worker", status, status == 1
        resumed = metric(others, 'antiphon_resumes_total{how="history"}')
        yield 'antiphon_resumes_total{how="history"} of the other', resumed, resumed == 1


def slow() -> Iterator[Seen]:
    """A step takes longer than a frame lasts."""
    with watched("--step-ms", "100") as (started, metrics):
        codec, model = asyncio.run(served(started.address))
        (script,) = scripts(Load(1, 3.0), model, codec.frame_s, None)
        outcome = asyncio.run(run_session(started.address, codec, script, time.perf_counter()))
        missed = metric(metrics, "antiphon_deadline_misses_total")
        yield "antiphon_deadline_misses_total", missed, missed > 0.9 * outcome.sent
        yield "frames lost", outcome.lost, outcome.lost == 0
        steps = metric(metrics, 'antiphon_step_seconds_bucket{le="0.064"}')
        yield "steps within 64 ms", steps, steps == 0


def full() -> Iterator[Seen]:
    """More people come than there are slots, until a worker is added."""
    with ExitStack() as stack:
        first, metrics = stack.enter_context(watched("--slots", "2"))
        for seed in (1, 2):
            stack.enter_context(blocking.connect(first.address, CODEC, seed=seed)).exchange(CODES)
        try:
            stack.enter_context(blocking.connect(first.address, CODEC, seed=3, reconnect=NEVER))
            yield "the third is", "served", False
        except NoFreeSlotError as error:
            yield "the third is refused, to come back after seconds", error.retry_after_s, error.retry_after_s > 0
        refused = metric(metrics, 'antiphon_refusals_total{reason="slots"}')
        yield 'antiphon_refusals_total{reason="slots"}', refused, refused >= 1
        free = metric(metrics, "antiphon_slots") - metric(metrics, "antiphon_sessions")
        yield "antiphon_slots - antiphon_sessions", free, free == 0
        second, _ = stack.enter_context(watched("--slots", "2"))
        proxy = stack.enter_context(envoy([first.address, second.address]))
        proxy.wait_until_healthy(2)
        became = [opens(proxy.address) for _ in range(4)]
        yield "newcomers once a worker was added", became, set(became) == {"served"}


def proxy() -> Iterator[Seen]:
    """One of two Envoys is killed; whoever asks their Service for an address gets the other."""
    with watched("--slots", "32") as (behind, metrics), envoy([behind.address]) as one, envoy([behind.address]) as two:
        for each in (one, two):
            each.wait_until_healthy(1)

        async def through() -> tuple[int, int, float]:
            codec, model = await served(one.address)
            async with relay(one.address) as service:
                start_s = time.perf_counter()
                load = scripts(Load(8, 6.0), model, codec.frame_s, None)
                talking = [asyncio.create_task(run_session(service.address, codec, each, start_s)) for each in load]
                await asyncio.sleep(2)
                service.target = two.address
                one.process.send_signal(signal.SIGKILL)
                outcomes = await asyncio.gather(*talking)
            failed = sum(outcome.error is not None for outcome in outcomes)
            return failed, sum(outcome.lost for outcome in outcomes), max(each.longest_gap_ms for each in outcomes)

        failed, lost, gap_ms = asyncio.run(through())
        yield "sessions that failed, of 8", failed, failed == 0
        yield "frames lost", lost, lost == 0
        yield "longest gap between replies in ms", round(gap_ms), True
        kept = metric(metrics, 'antiphon_resumes_total{how="slot"}') + metric(
            metrics, 'antiphon_resumes_total{how="history"}'
        )
        yield "antiphon_resumes_total", kept, kept >= 8


def keys() -> Iterator[Seen]:
    """A key is taken out of the file, and put back."""
    with tempfile.TemporaryDirectory() as name:
        file, key = Path(name) / "keys.toml", Path(name) / "key"
        subprocess.run([BIN / "antiphon-cloud", "make-key", "kitchen", "--api-keys", file, "--out", key], check=True)
        credentials = Credentials(api_key=key.read_text().strip())
        whole = file.read_text()
        with (
            watched("--api-keys", file) as (started, metrics),
            blocking.connect(started.address, CODEC, seed=1, credentials=credentials) as session,
        ):
            session.exchange(CODES)
            file.write_text("[keys]\n")
            gone = until(lambda: opens(started.address, credentials) == "UnauthenticatedError")
            yield "a newcomer with the key that was taken out", opens(started.address, credentials), gone
            yield "the session that has it", session.exchange(CODES).sequence, True
            refused = metric(metrics, 'antiphon_refusals_total{reason="unauthenticated"}')
            yield 'antiphon_refusals_total{reason="unauthenticated"}', refused, refused >= 1
            file.write_text(whole)
            back = until(lambda: opens(started.address, credentials) == "served")
            yield "once it is back, without a restart", "served" if back else "refused", back


def certificate() -> Iterator[Seen]:
    """A renewal is half a file; then a whole one of another authority."""
    with tempfile.TemporaryDirectory() as name:
        files = {kind: Path(name) / f"{kind}.pem" for kind in ("ca", "cert", "key", "renewed")}

        def issue(authority: trustme.CA, ca: Path) -> None:
            leaf = authority.issue_cert("localhost")
            ca.write_bytes(authority.cert_pem.bytes())
            files["key"].write_bytes(leaf.private_key_pem.bytes())
            files["cert"].write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))

        issue(trustme.CA(), files["ca"])
        with watched("--listen", "localhost:0", "--tls-cert", files["cert"], "--tls-key", files["key"]) as (started, _):
            old, new = Credentials(tls=True, ca=files["ca"]), Credentials(tls=True, ca=files["renewed"])
            yield "a newcomer", (became := opens(started.address, old)), became == "served"
            files["cert"].write_text("half a file")
            yield "while the renewal is half a file", (became := opens(started.address, old)), became == "served"
            issue(trustme.CA(), files["renewed"])
            came = until(lambda: opens(started.address, new) == "served")
            yield "once it is whole, without a restart", "served" if came else "refused", came
            yield "an edge that trusts the old authority", (became := opens(started.address, old)), became != "served"


INCIDENTS: dict[str, Callable[[], Iterator[Seen]]] = {
    each.__name__: each for each in (engine, slow, full, proxy, keys, certificate)
}


def main() -> None:
    """Rehearses the named incidents, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*INCIDENTS, []], metavar="INCIDENT")
    right = True
    for name in parser.parse_args().names or INCIDENTS:
        print(name)
        for what, seen, as_told in INCIDENTS[name]():
            print(f"  {what}: {seen}{'' if as_told else '   NOT AS THE RUNBOOK SAYS'}", flush=True)
            right &= as_told
    sys.exit(not right)


if __name__ == "__main__":
    main()
