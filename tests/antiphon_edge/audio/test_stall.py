"""A device's silence counts only while somebody is awake to hear it."""

from antiphon_edge.audio.stall import LOOK_S, STALL_S, Stall


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_silence_adds_up_until_the_device_is_heard() -> None:
    clock = Clock()
    stall = Stall(clock)
    for _ in range(6):
        clock.now_s += LOOK_S
        silent_s = stall.look()
    assert silent_s == 6 * LOOK_S
    stall.heard()
    clock.now_s += LOOK_S / 2
    assert stall.look() == LOOK_S / 2


def test_a_night_of_sleep_is_no_silence() -> None:
    clock = Clock()
    stall = Stall(clock)
    clock.now_s += 8 * 3600
    assert stall.look() == 2 * LOOK_S
    clock.now_s += LOOK_S
    assert stall.look() < STALL_S
