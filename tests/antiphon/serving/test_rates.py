"""Token buckets by name."""

from __future__ import annotations

import pytest

from antiphon.serving import rates
from antiphon.serving.rates import Buckets


def test_a_crowd_of_clients_takes_bounded_memory_and_the_busiest_stay_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "CLIENTS_KEPT", 100)
    buckets = Buckets()
    for _ in range(30):
        assert not buckets.take("kitchen", 2, 60, 0)
    for number in range(1000):
        buckets.take(f"the address {number}", 2, 60, 0.001 * number)
    assert len(buckets) <= 100
    assert buckets.take("kitchen", 2, 60, 1) == 1
