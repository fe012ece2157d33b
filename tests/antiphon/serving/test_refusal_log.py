"""Refused calls are said a bounded number of times a minute."""

from __future__ import annotations

import pytest

from antiphon.serving.refusal_log import SAID, WITHIN_S, RefusalLog


def test_a_flood_is_said_in_part_and_then_how_many_more(caplog: pytest.LogCaptureFixture) -> None:
    now_s = 100.0
    refusals = RefusalLog(lambda: now_s)
    for _ in range(1000):
        refusals.add(reason="slots", client="the address 10.0.0.9")
    assert len(caplog.records) == SAID
    now_s += WITHIN_S
    refusals.add(reason="slots", client="the address 10.0.0.9")
    assert [record.getMessage() for record in caplog.records[SAID:]] == [
        "more calls were refused than are said",
        "call refused",
    ]
    assert caplog.records[SAID].antiphon_fields == {"count": 1000 - SAID}  # type: ignore[attr-defined]
