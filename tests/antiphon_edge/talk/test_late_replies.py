"""Late replies: skipped after an outage, never on a network that is slow but steady."""

from antiphon_edge.talk.late_replies import MAX_LAG_S, WINDOW, LateReplyFilter


def late(lag: LateReplyFilter, *round_trips_s: float) -> int:
    return sum(lag.is_late(each) for each in round_trips_s)


def test_a_steady_network_however_slow_loses_nothing() -> None:
    assert late(LateReplyFilter(), *[0.9] * 100) == 0


def test_jitter_within_the_budget_is_heard() -> None:
    assert late(LateReplyFilter(), *[0.05, 0.05 + MAX_LAG_S, 0.1] * 30) == 0


def test_what_piled_up_in_an_outage_is_skipped_until_the_lag_is_gone() -> None:
    lag = LateReplyFilter()
    late(lag, *[0.05] * 100)
    caught_up = [2.0 - 0.08 * frame for frame in range(25)]  # two seconds, answered in a burst
    assert late(lag, *caught_up) == sum(each > 0.05 + MAX_LAG_S for each in caught_up)
    assert late(lag, *[0.05] * 20) == 0


def test_a_network_that_has_become_slower_is_the_usual_one_soon() -> None:
    lag = LateReplyFilter()
    late(lag, *[0.05] * 100)
    assert late(lag, *[0.6] * 100) < WINDOW
