"""Refused calls are all counted, and said a bounded number of times a minute."""

from __future__ import annotations

import pytest

from antiphon_cloud.metrics import Metrics
from antiphon_cloud.server.refusals import SAID, WITHIN_S, Refusals


def test_a_flood_is_counted_whole_and_said_in_part(caplog: pytest.LogCaptureFixture) -> None:
    metrics, now_s = Metrics(), 100.0
    refusals = Refusals(metrics, lambda: now_s)
    for _ in range(1000):
        refusals.add("slots", "the address 10.0.0.9")
    assert len(caplog.records) == SAID
    assert metrics.registry.get_sample_value("antiphon_refusals_total", {"reason": "slots"}) == 1000
    now_s += WITHIN_S
    refusals.add("slots", "the address 10.0.0.9")
    assert [record.getMessage() for record in caplog.records[SAID:]] == [
        "more calls were refused than are said",
        "call refused",
    ]
    assert caplog.records[SAID].antiphon_fields == {"count": 1000 - SAID}  # type: ignore[attr-defined]
