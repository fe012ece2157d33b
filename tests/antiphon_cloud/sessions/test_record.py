"""What is said of a session, from its beginning to its end: each line of the log by itself, and its client's usage."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from antiphon.serving.tracing import Fields, Span
from antiphon.serving.usage import Usage
from antiphon_cloud.engine.slot import Reply
from antiphon_cloud.sessions.clients import Client
from antiphon_cloud.sessions.record import SessionRecord

KITCHEN = Client("the API key kitchen", proven=True)
NAMES = {"conversation": "ab" * 16, "session": "5e55", "client": "the API key kitchen"}


class Traced:
    """Keeps what a trace is told."""

    hops_every = 2

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def begin(self, name: str, conversation: str, fields: Fields, *, first: bool) -> Span:
        self.told.append((name, conversation, dict(fields), first))
        return self

    def event(self, name: str, fields: Fields) -> None:
        self.told.append((name, dict(fields)))

    def part(self, name: str, fields: Fields) -> None:
        self.told.append((name, dict(fields)))

    def end(self, status: str, fields: Fields) -> None:
        self.told.append((status, dict(fields)))

    def close(self) -> None:
        """Nothing is open."""


def record(traced: Traced | None = None, *, first: bool = True) -> SessionRecord:
    usage = Usage(CollectorRegistry(), "antiphon")
    return SessionRecord("5e55", "ab" * 16, KITCHEN, usage, traced or Traced(), first=first)


def reply(wait_us: int = 100, step_us: int = 2000) -> Reply:
    return Reply(0, 5, np.zeros(8, np.int32), wait_us, step_us, 5, 5)


def fields_of(record: logging.LogRecord) -> dict[str, str | float]:
    fields: dict[str, str | float] = record.antiphon_fields  # type: ignore[attr-defined]
    return fields


def test_each_line_names_the_conversation_the_session_and_the_client(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    said = record()
    said.say(logging.INFO, "session opened", slot=2, step=0)
    said.end("OK")
    opened, ended = caplog.records
    assert (opened.getMessage(), fields_of(opened)) == ("session opened", NAMES | {"slot": 2, "step": 0})
    assert fields_of(ended).items() >= NAMES.items()


def test_the_end_says_how_and_how_many_frames_came_late(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    said = record()
    for wait_us in (0, 78_000, 78_001):
        said.reply(reply(wait_us))
    said.end("CANCELLED")
    assert caplog.messages == ["session ended"]
    assert fields_of(caplog.records[0]) == NAMES | {"status": "CANCELLED", "frames": 3, "misses": 1}


def test_a_trace_is_told_all_that_the_log_is_and_where_the_time_of_frames_went() -> None:
    traced = Traced()
    said = record(traced, first=False)
    said.say(logging.INFO, "session is rebuilt", slot=1, step=7)
    for wait_us, send_us in ((1000, 300), (3000, 100), (500, 200)):
        said.reply(reply(wait_us))
        said.sent(reply(wait_us), send_us)
    said.end("OK")
    whole = {"wait_mean_ms": 2.0, "wait_most_ms": 3.0, "send_mean_ms": 0.2, "send_most_ms": 0.3}
    rest = {"wait_mean_ms": 0.5, "wait_most_ms": 0.5, "send_mean_ms": 0.2, "send_most_ms": 0.2}
    step = {"step_mean_ms": 2.0, "step_most_ms": 2.0}
    assert traced.told == [
        ("session", "ab" * 16, {"session": "5e55", "client": "the API key kitchen"}, False),
        ("session is rebuilt", {"slot": 1, "step": 7}),
        ("frames", {"frames": 2} | whole | step),
        ("frames", {"frames": 1} | rest | step),
        ("OK", {"frames": 3, "misses": 0}),
    ]
