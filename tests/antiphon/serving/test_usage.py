"""What clients used, in series whose number is bounded."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from antiphon.serving import usage as module
from antiphon.serving.usage import OTHERS, UNPROVEN, Usage


class Counted:
    def __init__(self) -> None:
        self.registry, self.now_s = CollectorRegistry(), 100.0
        self.usage = Usage(self.registry, "antiphon", lambda: self.now_s)

    def of(self, client: str) -> tuple[float | None, ...]:
        """Sessions, frames and seconds."""
        return tuple(
            self.registry.get_sample_value(f"antiphon_client_{name}_total", {"client": client})
            for name in ("sessions", "frames", "seconds")
        )


def test_a_key_is_counted_its_sessions_frames_and_the_time_while_it_passes() -> None:
    counted = Counted()
    meter = counted.usage.meter("the API key kitchen", proven=True)
    meter.begin()
    counted.now_s += 2.0
    meter.frame()
    assert counted.of("the API key kitchen") == (1, 1, 2)
    counted.now_s += 0.5
    meter.pass_time()
    assert counted.of("the API key kitchen") == (1, 1, 2.5)


def test_a_session_that_goes_on_elsewhere_is_no_second_one() -> None:
    counted = Counted()
    counted.usage.meter("the API key kitchen", proven=True).frame()
    assert counted.of("the API key kitchen") == (0, 1, 0)


def test_addresses_share_one_series() -> None:
    counted = Counted()
    for number in range(3):
        counted.usage.meter(f"the address {number}", proven=False).begin()
    assert counted.of(UNPROVEN)[0] == 3
    assert counted.of("the address 1") == (None, None, None)


def test_more_clients_than_have_series_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLIENTS", 2)
    counted = Counted()
    for name in ("a", "b", "c", "d", "a"):
        counted.usage.meter(name, proven=True).begin()
    assert [counted.of(name)[0] for name in ("a", "b", "c", OTHERS)] == [2, 1, None, 2]
