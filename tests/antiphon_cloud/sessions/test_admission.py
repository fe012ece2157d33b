"""Who is let in, as a function of slots, limits and step times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_cloud.engine.forecast import KEPT_S, StepForecast
from antiphon_cloud.errors import Refusal, RefusedError
from antiphon_cloud.sessions.admission import RETRY_SPAN_S, Admission, RetryPace
from antiphon_cloud.sessions.clients import Allowance, Client
from antiphon_cloud.timing import FRAME_MS

PROFILE = {1: 10.0, 2: 12.0, 4: 16.0, 8: 24.0, 16: 40.0, 32: 72.0}
SLOTS = 32
ANYONE = Client("anyone")

batches = st.integers(1, SLOTS)
step_ms = st.floats(0.01, 5000)
steps = st.lists(st.tuples(batches, step_ms), max_size=60)
profiles = st.builds(
    lambda first, growth: {batch: first + growth * (batch - 1) for batch in (1, 2, 4, 8, 16, 32)},
    st.floats(0.01, 500),
    st.floats(0, 10),
)


def refusal(admission: Admission, sessions: int, now_s: float = 0, slots: int = SLOTS) -> Refusal | None:
    """Why the next session is refused; None where it is admitted."""
    try:
        admission.check(ANYONE, 0, sessions, slots, now_s)
    except RefusedError as error:
        return error.reason if 1 <= error.retry_after_s <= RETRY_SPAN_S else None  # no time to come back is no refusal
    return None


def cold(profile: dict[int, float]) -> Admission:
    """Of a worker that has taken no step yet."""
    return Admission(StepForecast(profile))


def watched(profile: dict[int, float], seen: list[tuple[int, float]]) -> Admission:
    return Admission(forecast(profile, seen))


def forecast(profile: dict[int, float], seen: list[tuple[int, float]]) -> StepForecast:
    steps = StepForecast(profile)
    for batch, took_ms in seen:
        steps.observe(batch, took_ms, 0)
    return steps


def test_the_reserve_is_for_sessions_that_go_on() -> None:
    admission = Admission(StepForecast({1: 1.0}), reserve=2)
    assert refusal(admission, 5, slots=8) is None
    with pytest.raises(RefusedError, match="6 of 8 slots are taken, and the rest are kept for sessions that go on"):
        admission.check(ANYONE, 0, 6, 8, 0.0)
    admission.check(ANYONE, 0, 7, 8, 0.0, resumes=True)
    with pytest.raises(RefusedError, match="all 8 slots are taken"):
        admission.check(ANYONE, 0, 8, 8, 0.0, resumes=True)


def test_a_cold_worker_goes_by_its_profile() -> None:
    admission = cold(PROFILE)
    assert [refusal(admission, sessions) for sessions in (0, 15, 27)] == [None] * 3
    assert refusal(admission, 28) is Refusal.STEP_TIME  # 29 sessions: 66 ms
    assert refusal(admission, 32) is Refusal.SLOTS


def test_the_forecast_in_a_refusal_is_told() -> None:
    with pytest.raises(RefusedError, match="over 29 sessions would take 66 ms of a frame's 80, more than 64"):
        cold(PROFILE).check(ANYONE, 0, 28, SLOTS, 0)


def test_a_session_that_is_prefilled_between_the_steps_counts_with_its_chunk() -> None:
    steps = StepForecast(PROFILE)
    admission = Admission(steps)
    admission.check(ANYONE, 0, 27, SLOTS, 0)  # 28 sessions: 64 ms
    with pytest.raises(RefusedError, match="64 ms of a frame's 80, beside 5 for a session's prefill"):
        admission.check(ANYONE, 0, 27, SLOTS, 0, prefilling=True)
    admission.check(ANYONE, 0, 24, SLOTS, 0, prefilling=True)  # 25: 58 and 5
    for took_ms in (9.0, 12.0, 3.0):
        steps.observe_chunk(took_ms)
    with pytest.raises(RefusedError, match="58 ms of a frame's 80, beside 12"):
        admission.check(ANYONE, 0, 24, SLOTS, 0, prefilling=True)
    admission.check(ANYONE, 0, 0, SLOTS, 0, prefilling=True)  # an idle worker always admits


def test_a_machine_that_got_slower_is_noticed_at_small_batches() -> None:
    admission = watched(PROFILE, [(1, 20.0), (2, 24.0)] * 20)
    assert refusal(admission, 15) is Refusal.STEP_TIME
    assert refusal(admission, 7) is None


@given(profiles, steps)
def test_an_idle_worker_with_a_slot_always_admits(profile: dict[int, float], seen: list[tuple[int, float]]) -> None:
    assert refusal(watched(profile, seen), 0) is None


@given(profiles, steps, st.integers(1, SLOTS), st.integers(1, SLOTS))
def test_no_more_sessions_than_slots(
    profile: dict[int, float], seen: list[tuple[int, float]], slots: int, over: int
) -> None:
    assert refusal(watched(profile, seen), slots + over - 1, slots=slots) is Refusal.SLOTS


@given(profiles, steps, st.integers(1, SLOTS - 2))
def test_where_one_more_is_refused_two_more_are(
    profile: dict[int, float], seen: list[tuple[int, float]], sessions: int
) -> None:
    admission = watched(profile, seen)
    if refusal(admission, sessions) is not None:
        assert refusal(admission, sessions + 1) is not None


@given(steps, st.integers(1, SLOTS - 1))
def test_whoever_is_admitted_leaves_the_forecast_within_the_budget(
    seen: list[tuple[int, float]], sessions: int
) -> None:
    steps = forecast(PROFILE, seen)
    admission = Admission(steps)
    if refusal(admission, sessions) is None:
        assert steps.step_ms(sessions + 1, 0) <= admission.budget_ms < FRAME_MS


@given(st.lists(st.tuples(batches, st.floats(80, 1e6)), max_size=2), st.integers(0, 1000), st.randoms())
def test_one_or_two_hiccups_lock_no_door(hiccups: list[tuple[int, float]], calm: int, random: object) -> None:
    seen = [*hiccups, *[(batch, PROFILE[batch]) for batch in (1, 2, 4, 8, 16) for _ in range(calm // 5)]]
    random.shuffle(seen)  # type: ignore[attr-defined]
    assert refusal(watched(PROFILE, seen), 7) is None


def test_a_slow_hundredth_shuts_the_door_and_a_slow_thousandth_does_not() -> None:
    def after(slow: int) -> Refusal | None:
        return refusal(watched(PROFILE, [(8, 300.0)] * slow + [(8, 24.0)] * (1000 - slow)), 7)

    assert after(slow=1) is None
    assert after(slow=9) is None
    assert after(slow=10) is Refusal.STEP_TIME


@given(profiles, steps, st.integers(1, SLOTS - 1))
def test_every_bad_time_is_forgotten(profile: dict[int, float], seen: list[tuple[int, float]], sessions: int) -> None:
    later_s = 1.001 * KEPT_S
    assert refusal(watched(profile, seen), sessions, later_s) == refusal(cold(profile), sessions)


def test_without_a_profile_the_last_steps_decide() -> None:
    steps = forecast({}, [(1, 70.0)] * 2)
    admission = Admission(steps)
    assert refusal(admission, 5) is None
    steps.observe(1, 70.0, 0)
    assert refusal(admission, 5) is Refusal.STEP_TIME
    assert refusal(admission, 0) is None


def test_a_client_gets_no_more_sessions_than_it_may() -> None:
    kitchen = Client("the API key kitchen", Allowance(sessions=2))
    admission = cold(PROFILE)
    admission.check(kitchen, 1, 5, SLOTS, 0)
    with pytest.raises(RefusedError, match="the API key kitchen has 2 sessions, as many as it may") as raised:
        admission.check(kitchen, 2, 5, SLOTS, 0)
    assert raised.value.reason is Refusal.CLIENT_SESSIONS


def test_the_refused_come_back_later_the_more_they_are() -> None:
    pace = RetryPace()
    delays = [pace.delay_s(0) for _ in range(300)]
    assert delays[:10] == [1] * 10
    assert delays[49] == 5
    assert delays[-1] == RETRY_SPAN_S
    assert delays == sorted(delays)
    assert pace.delay_s(1.001 * RETRY_SPAN_S) == 1


def test_without_memory_for_what_a_session_is_promised_it_is_refused() -> None:
    admission = cold(PROFILE)
    admission.check(ANYONE, 0, 5, SLOTS, 0, needed_steps=768, free_steps=768)
    with pytest.raises(RefusedError, match=r"needs memory for 61 s, and 41 s are free that no other was") as raised:
        admission.check(ANYONE, 0, 5, SLOTS, 0, needed_steps=768, free_steps=512)
    assert raised.value.reason is Refusal.MEMORY
    assert raised.value.retry_after_s == 1


def test_one_of_several_keys_leaves_the_last_slot_to_those_that_have_none() -> None:
    admission, shares = cold(PROFILE), Client("the API key bulk", Allowance(leaves_last_slot=True), proven=True)
    admission.check(shares, 2, 2, 4, 0)  # its third, of four
    with pytest.raises(RefusedError, match="bulk has 3 sessions, and the last of 4 slots is for clients") as raised:
        admission.check(shares, 3, 3, 4, 0)
    assert raised.value.reason is Refusal.CLIENT_SESSIONS
    admission.check(shares, 0, 3, 4, 0)  # who has none takes it
    admission.check(shares, 0, 0, 1, 0)  # also where it is the only one
    admission.check(ANYONE, 3, 3, 4, 0)  # whom nothing tells from others may have all
