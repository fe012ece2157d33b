"""How often a client may call and open sessions, and how many calls it may have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_cloud.errors import Refusal, RefusedError
from antiphon_cloud.server.access.limits import STEPS_AN_OPEN, CallRate, OpenRate, Shares
from antiphon_cloud.sessions.clients import Allowance, Client

KITCHEN = Client("the API key kitchen", Allowance(opens_per_minute=30))
ANYONE = Client("anyone")
GARDEN = Client("the API key garden", Allowance(opens_per_minute=30))


def taken(rate: OpenRate, client: Client, now_s: float) -> bool:
    try:
        rate.take(client, now_s)
    except RefusedError:
        return False
    return True


def test_a_minutes_opens_may_come_at_once_and_then_one_at_a_time() -> None:
    rate = OpenRate()
    assert [taken(rate, KITCHEN, 0) for _ in range(31)] == [True] * 30 + [False]
    assert not taken(rate, KITCHEN, 1.9)
    assert taken(rate, KITCHEN, 2)
    assert not taken(rate, KITCHEN, 2)
    assert taken(rate, GARDEN, 2)  # each has its own


def test_a_prefill_counts_as_the_opens_that_it_costs() -> None:
    rate = OpenRate()
    for _ in range(6):
        rate.take(KITCHEN, 0)
        rate.take(KITCHEN, 0, opens=4096 / STEPS_AN_OPEN)
    assert not taken(rate, KITCHEN, 0)  # 6 sessions of 4,096 steps, where 30 without a history may be opened
    assert taken(rate, KITCHEN, 2)


def test_a_refusal_says_when_the_next_may_come() -> None:
    rate = OpenRate()
    for _ in range(30):
        rate.take(KITCHEN, 100)
    with pytest.raises(RefusedError, match="kitchen opens more than 30 sessions a minute: wait") as raised:
        rate.take(KITCHEN, 100.5)
    assert raised.value.retry_after_s == pytest.approx(1.5)
    assert raised.value.reason is Refusal.OPEN_RATE
    assert taken(rate, KITCHEN, 102)


@given(
    st.floats(0.1, 1000),
    st.lists(st.floats(0, 60), max_size=100),
)
def test_no_window_lets_more_through_than_a_minutes_worth_and_the_refill(limit: float, pauses_s: list[float]) -> None:
    rate, client = OpenRate(), Client("c", Allowance(opens_per_minute=limit))
    now_s, times_s = 0.0, []
    for pause_s in pauses_s:
        now_s += pause_s
        if taken(rate, client, now_s):
            times_s.append(now_s)
    for first, start_s in enumerate(times_s):
        for last in range(first, len(times_s)):
            refill = (times_s[last] - start_s) * limit / 60
            assert last - first + 1 <= max(limit, 1) + refill + 1e-6


@given(st.lists(st.floats(0, 10), max_size=100))
def test_whoever_keeps_to_the_limit_is_never_refused(extra_s: list[float]) -> None:
    rate, now_s = OpenRate(), 0.0
    for pause_s in extra_s:
        now_s += 2.0 + pause_s
        assert taken(rate, KITCHEN, now_s)


def test_without_a_limit_nothing_is_counted() -> None:
    rate = OpenRate()
    assert all(taken(rate, ANYONE, 0) for _ in range(10_000))


def test_calls_of_one_kind_take_nothing_from_another() -> None:
    rate, often = CallRate(), Client("c", Allowance(calls_per_second=10))
    for _ in range(20):  # two seconds' worth at once
        rate.take(often, "calls", 0)
    with pytest.raises(RefusedError, match="c makes more than 10 calls a second: wait") as raised:
        rate.take(often, "calls", 0)
    assert raised.value.reason is Refusal.CALL_RATE
    assert raised.value.retry_after_s == pytest.approx(0.1)
    rate.take(often, "health checks", 0)
    rate.take(often, "calls", 0.1)
    for _ in range(1000):
        rate.take(ANYONE, "calls", 0)


@given(st.integers(1, 40), st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=200))
def test_whatever_others_hold_a_client_without_a_place_gets_one(places: int, moves: list[tuple[str, bool]]) -> None:
    shares, held = Shares(places, "calls"), dict.fromkeys("abc", 0)
    for name, comes in moves:
        client = Client(name)
        if not comes:
            if held[name]:
                shares.give_back(client)
                held[name] -= 1
            continue
        fits = held[name] < places - sum(held.values())
        if fits:
            shares.check(client)
            shares.take(client)
            held[name] += 1
        else:
            with pytest.raises(RefusedError, match=f"{name} holds {held[name]} calls, as many as are left"):
                shares.check(client)
    if places > 8:  # three hold a quarter each at the most, and one for each that rounds up
        shares.check(Client("a newcomer"))
