"""Where the time went: the round trip splits into what the worker measured and the rest."""

from antiphon_edge.client.events import Totals
from antiphon_edge.talk.latency import LatencyBreakdown, format_table


def hops(round_trips_ms: list[float], totals: Totals | None = None) -> LatencyBreakdown:
    seen = LatencyBreakdown()
    seen.round_trip_ms.extend(round_trips_ms)
    seen.add_timings(totals)
    return seen


def test_the_network_is_what_the_workers_times_leave_of_the_round_trip() -> None:
    table = hops([10.0, 10.0], Totals(2, wait_us=[1000, 1000], step_us=[6000, 6000])).table()
    assert table == {
        "network": (3.0, 3.0, 3.0),
        "wait": (1.0, 1.0, 1.0),
        "step": (6.0, 6.0, 6.0),
        "round trip": (10.0, 10.0, 10.0),
    }


def test_without_the_workers_times_only_the_round_trip_is_known() -> None:
    assert hops([10.0], Totals(1)).table() == {"round trip": (10.0, 10.0, 10.0)}
    assert hops([10.0]).table() == {"round trip": (10.0, 10.0, 10.0)}


def test_sessions_add_up() -> None:
    together = LatencyBreakdown.together([hops([1.0, 2.0]), hops([3.0])])
    assert list(together.round_trip_ms) == [1.0, 2.0, 3.0]


def test_the_table_has_a_row_for_each_hop() -> None:
    assert format_table({"step": (1.0, 2.0, 3.0)}).splitlines()[1].split() == ["step", "1.00", "2.00", "3.00"]


def test_percentiles_are_those_of_all_frames() -> None:
    assert hops([float(ms) for ms in range(101)]).table() == {"round trip": (50.0, 95.0, 99.0)}
