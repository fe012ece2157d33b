"""The gateway's Prometheus metrics. Labels name a bounded number of clients: the series stay few."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, ProcessCollector

from antiphon import __version__
from antiphon.serving.usage import Usage


class Metrics:
    """One gateway's metrics, in a registry of their own. Safe to use from every thread.

    Args:
        name: the gateway's; empty for none.
    """

    def __init__(self, name: str = "") -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, processor time, open files
        Info("antiphon_gateway_build", "The version that runs.", registry=registry).info(
            {"version": __version__, "name": name}
        )
        self._gauges = {
            name: Gauge(f"antiphon_gateway_{name}", text, registry=registry)
            for name, text in {
                "calls": "Calls now.",
                "places": "Calls at once at the most.",
                "tasks": "Tasks of the event loop.",
                "kinds_lost": "Kinds of workers (dialogue, speech to text, text to speech) of which none answers.",
            }.items()
        }
        self._opened = Counter("antiphon_gateway_calls_opened", "Calls let in, by door.", ["door"], registry=registry)
        self._ended = Counter(
            "antiphon_gateway_calls_ended",
            "Calls that ended, by door and status.",
            ["door", "status"],
            registry=registry,
        )
        self._refused = Counter(
            "antiphon_gateway_refusals",
            "Callers not let in, by door and status.",
            ["door", "status"],
            registry=registry,
        )
        self._resumes = Counter("antiphon_gateway_resumes", "Sessions that went on in another call.", registry=registry)

        self.usage = Usage(registry, "antiphon_gateway")
        self.frames = self.late = self.callers_refused = 0
        """Frames that were answered, those of them that came late, and callers not let in: for the status."""

    def watch(self, name: str, value: Callable[[], float]) -> None:
        """Reads the gauge `antiphon_gateway_NAME` from `value` at every scrape."""
        self._gauges[name].set_function(value)

    def opened(self, door: str) -> None:
        """Counts one call that was let in."""
        self._opened.labels(door).inc()

    def ended(self, door: str, status: str) -> None:
        """Counts one call that ended; `status` as an error has it, or OK."""
        self._ended.labels(door, status).inc()

    def refused(self, door: str, status: str) -> None:
        """Counts one caller who was not let in."""
        self.callers_refused += 1
        self._refused.labels(door, status).inc()

    def frame(self, *, late: bool) -> None:
        """Counts one answered frame."""
        self.frames += 1
        self.late += late

    def resumed(self) -> None:
        """Counts one session that went on in another call."""
        self._resumes.inc()
