"""The worker's Prometheus metrics. No label names a session, and a bounded number of clients: the series stay few."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from antiphon import __version__
from antiphon.serving.usage import Usage
from antiphon_cloud.errors import Refusal
from antiphon_cloud.timing import FRAME_S

# The buckets are finest around the length of a frame.
LATENCY_BUCKETS_S = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.02,
    0.03,
    0.04,
    0.05,
    0.06,
    0.07,
    FRAME_S,
    0.1,
    0.12,
    0.16,
    0.24,
    0.5,
    1,
)
PREFILL_BUCKETS_S = (0.005, 0.01, 0.02, 0.04, FRAME_S, 0.16, 0.32, 0.64, 1.28, 2.5, 5, 10)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
REFUSALS = (
    *(reason.value for reason in Refusal),
    "starting",
    "draining",
    "unauthenticated",
    "tokens",
    "permission_denied",
)


class Metrics:
    """One worker's metrics, in a registry of their own. Safe to use from every thread.

    Args:
        name: the worker's; empty for none.
    """

    def __init__(self, name: str = "") -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, processor time, open files
        Info("antiphon_build", "The version that runs.", registry=registry).info({"version": __version__, "name": name})
        self._gauges = {
            name: Gauge(f"antiphon_{name}", text, registry=registry)
            for name, text in {
                "sessions": "Sessions now.",
                "slots": "Slots: sessions at once at the most.",
                "queue_depth": "Frames that wait for a step.",
                "tasks": "Tasks of the event loop.",
            }.items()
        }
        self._calls = Counter(
            "antiphon_calls", "Converse calls that ended, by gRPC status.", ["status"], registry=registry
        )
        self._opened = Counter("antiphon_sessions_opened", "Sessions that were admitted.", registry=registry)
        self._refusals = Counter(
            "antiphon_refusals", "Calls that were not let in, by reason.", ["reason"], registry=registry
        )
        for reason in REFUSALS:
            self._refusals.labels(reason)  # exports 0 from the start
        self._step = Histogram(
            "antiphon_step_seconds", "One step over a batch.", buckets=LATENCY_BUCKETS_S, registry=registry
        )
        self._batch = Histogram("antiphon_batch_size", "Sessions in a step.", buckets=BATCH_BUCKETS, registry=registry)
        self._frame = Histogram(
            "antiphon_frame_seconds",
            "From a frame's arrival to its reply, before it is written.",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._misses = Counter(
            "antiphon_deadline_misses", "Frames whose reply took longer than a frame lasts.", registry=registry
        )
        self._resumes = Counter(
            "antiphon_resumes", "Sessions that went on: in the slot they held, or rebuilt.", ["how"], registry=registry
        )
        for how in ("slot", "history"):
            self._resumes.labels(how)
        self._closed = Counter(
            "antiphon_closed_rings",
            "Sessions that grew beyond the memory they were promised and found none free: they look back less far.",
            registry=registry,
        )
        self._prefill = Histogram(
            "antiphon_prefill_seconds",
            "Rebuilding one session from its history, from Open on, beside the others' steps.",
            buckets=PREFILL_BUCKETS_S,
            registry=registry,
        )

        self.usage = Usage(registry, "antiphon")
        self.frames = self.late = self.calls_refused = 0
        """Frames that were answered, those of them that came late, and calls not let in: for the status."""

    def watch(self, name: str, value: Callable[[], float]) -> None:
        """Reads the gauge `antiphon_NAME` from `value` at every scrape."""
        self._gauges[name].set_function(value)

    def watch_stepper(self, pid: int) -> None:
        """Exports the stepper process's memory, processor time and open files as `stepper_process_…`."""
        ProcessCollector(namespace="stepper", pid=lambda: pid, registry=self.registry)

    def step(self, batch: int, step_s: float) -> None:
        """Counts one step over `batch` sessions."""
        self._step.observe(step_s)
        self._batch.observe(batch)

    def frame(self, latency_s: float) -> None:
        """Counts one answered frame."""
        self._frame.observe(latency_s)
        self.frames += 1
        if latency_s > FRAME_S:
            self.late += 1
            self._misses.inc()

    def opened(self) -> None:
        """Counts one admitted session."""
        self._opened.inc()

    def refused(self, reason: str) -> None:
        """Counts one refused call; `reason` is one of `REFUSALS`."""
        self._refusals.labels(reason).inc()
        self.calls_refused += 1

    def ended(self, status: str) -> None:
        """Counts one Converse call by the name of its gRPC status."""
        self._calls.labels(status).inc()

    def resumed(self, how: str) -> None:
        """Counts one resumed session: `slot` or `history`."""
        self._resumes.labels(how).inc()

    def closed(self) -> None:
        """Counts one session that goes on with a shorter window."""
        self._closed.inc()

    def prefilled(self, prefill_s: float) -> None:
        """Counts one session's prefill."""
        self._prefill.observe(prefill_s)
