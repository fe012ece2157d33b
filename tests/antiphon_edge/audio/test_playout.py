"""The playout buffer, without a sound card."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from antiphon_edge.audio.jitter.splice import SILENT
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.audio.playout import BEHIND_MS, PREFILL_MS, SPARE_MS, PlayoutBuffer
from tests.support.playing import (
    CALLBACK_SAMPLES,
    FRAME_MS,
    FRAME_SAMPLES,
    FRAMES_IN_2_S,
    RATE_HZ,
    largest_jump,
    play,
    tone,
)

NO_CLICK = 0.02  # of full scale
JITTER_MS = np.random.default_rng(1).uniform(0, 60, 1000)
REGULAR_MS = [FRAME_MS * number + 1.0 for number in range(1000)]


def assert_same(heard: Pcm, said: Pcm) -> None:
    np.testing.assert_allclose(heard, said, atol=1e-6)


def after_a_stall(seconds: float, frames: int = 200) -> list[float]:
    """Regular arrivals, but for so long of nothing at frame 100, whose frames then come together."""
    stalled = round(seconds * 1000 / FRAME_MS)
    times = REGULAR_MS[:frames]
    return [times[100 + stalled] if 100 <= number < 100 + stalled else at for number, at in enumerate(times)]


def test_the_first_audio_waits_for_the_prefill_to_the_sample() -> None:
    buffer = PlayoutBuffer(RATE_HZ, prefill_ms=37)
    assert not buffer.read(CALLBACK_SAMPLES).any(), "the wait begins with the first audio"
    buffer.write(tone(2 * FRAME_SAMPLES) + 2)
    out = np.concatenate([buffer.read(CALLBACK_SAMPLES) for _ in range(9)])
    assert int(np.flatnonzero(out)[0]) == 37 * RATE_HZ // 1000
    assert buffer.stats.underruns == 0


def test_a_quiet_network_is_waited_for_by_a_few_milliseconds_only() -> None:
    played = play(REGULAR_MS)
    stats = played.buffer.stats
    assert max(played.levels_ms[-FRAMES_IN_2_S:]) <= stats.target_ms + SPARE_MS <= 20
    assert (stats.underruns, stats.dropped_samples) == (0, 0)


def test_as_much_waits_as_the_jitter_needs() -> None:
    played = play(FRAME_MS * np.arange(1000) + JITTER_MS)
    stats = played.buffer.stats
    assert 55 < stats.target_ms < 75
    assert stats.underruns <= 2, "while it was not known yet"
    assert stats.dropped_samples == 0
    assert largest_jump(played.pcm) < NO_CLICK


def test_jitter_that_is_over_is_forgotten_within_20_s() -> None:
    times = FRAME_MS * np.arange(1000) + np.where(np.arange(1000) < 500, JITTER_MS, 1)
    played = play(times)
    assert np.median(played.levels_ms[-FRAMES_IN_2_S:]) < 25 < np.median(played.levels_ms[400:500])


@pytest.mark.parametrize("hz", [110.0, 300.0, 1000.0, 3000.0])
@pytest.mark.parametrize("gap_ms", [30, 75, 130])
def test_a_gap_is_concealed_fades_is_counted_once_and_makes_no_click(hz: float, gap_ms: int) -> None:
    times = [at + (gap_ms if number >= 50 else 0) for number, at in enumerate(REGULAR_MS[:100])]
    played = play(times, frame=lambda number: tone(FRAME_SAMPLES, number * FRAME_SAMPLES, hz))
    stats = played.buffer.stats
    assert (stats.underruns, stats.late_frames) == (1, 1 + (gap_ms > 100))
    assert gap_ms - 40 <= stats.gap_ms <= gap_ms + 20
    assert largest_jump(played.pcm, hz) < NO_CLICK


def test_a_long_gap_ends_in_silence() -> None:
    played = play(REGULAR_MS[:50], after_ms=1000)
    assert np.abs(played.pcm[-RATE_HZ // 2 :]).max() == 0
    assert largest_jump(played.pcm) < NO_CLICK


@pytest.mark.parametrize("seconds", [1, 5])
@pytest.mark.parametrize("stopped", [False, True], ids=["network", "process"])
def test_after_a_stall_the_delay_is_back_within_2_s_of_sound(seconds: int, stopped: bool) -> None:
    arrivals = after_a_stall(seconds)
    back = 100 + round(seconds * 1000 / FRAME_MS)
    played = play(arrivals, stalled_ms=(arrivals[99] + 1, arrivals[back]) if stopped else (0, 0))
    back += FRAMES_IN_2_S
    assert max(played.levels_ms[back:]) <= max(played.levels_ms[75:100]) + SPARE_MS
    assert largest_jump(played.pcm) < NO_CLICK


def test_frames_that_come_together_after_a_stall_of_the_network_were_all_late() -> None:
    stats = play(after_a_stall(1)).buffer.stats
    assert stats.underruns == 1
    assert stats.late_frames == pytest.approx(1000 / FRAME_MS, abs=1)
    assert stats.gap_ms == pytest.approx(1000, abs=60)


def test_a_surplus_is_left_out_of_a_silence_before_it_is_of_speech() -> None:
    def speech(number: int) -> Pcm:
        loudness = 1.0 if number % 10 < 7 else SILENT
        return loudness * tone(FRAME_SAMPLES, number * FRAME_SAMPLES)

    arrivals = after_a_stall(0.24)
    played = play(arrivals, frame=speech)
    stats = played.buffer.stats
    assert stats.dropped_samples == 0
    assert stats.silence_ms > 150
    assert max(played.levels_ms[105 + FRAMES_IN_2_S :]) < 30


def test_a_small_surplus_of_speech_is_played_no_more_than_5_percent_faster() -> None:
    surplus_ms = BEHIND_MS - 20
    times = [at - (surplus_ms if number >= 100 else 0) for number, at in enumerate(REGULAR_MS[:300])]
    levels = play(times).levels_ms
    usual, slower = levels[99], np.array(levels[101:])
    assert slower[0] > usual + 40
    falls = -np.diff(slower)
    assert np.convolve(falls, np.ones(10), "valid").max() <= 0.05 * 10 * FRAME_MS + 15, "and one splice at either end"
    assert slower[FRAMES_IN_2_S:].max() <= usual + SPARE_MS


def test_a_callback_that_stalls_leaves_no_delay_behind() -> None:
    played = play(REGULAR_MS[:300], stalled_ms=(8000, 9500))
    assert max(played.levels_ms[119:][FRAMES_IN_2_S:]) <= max(played.levels_ms[75:100]) + SPARE_MS
    assert played.buffer.stats.underruns == 0
    assert largest_jump(played.pcm) < NO_CLICK


def test_overflow_drops_the_oldest() -> None:
    buffer = PlayoutBuffer(RATE_HZ, prefill_ms=0, capacity_ms=160)
    pcm = tone(4 * FRAME_SAMPLES)
    buffer.write(pcm[: 3 * FRAME_SAMPLES])
    assert buffer.stats.dropped_samples == FRAME_SAMPLES
    assert buffer.stats.level_ms == 160
    buffer.flush()
    out = np.concatenate([buffer.read(FRAME_SAMPLES), buffer.read(FRAME_SAMPLES)])
    assert_same(out[CALLBACK_SAMPLES:], pcm[FRAME_SAMPLES + CALLBACK_SAMPLES : 3 * FRAME_SAMPLES])
    assert largest_jump(out) < NO_CLICK


def test_an_overflow_amid_speech_makes_no_click() -> None:
    buffer = PlayoutBuffer(RATE_HZ, capacity_ms=160)
    played = play([1.0, 1.0, 1.0, 81.0, 81.0, 82.0, 83.0, 84.0, 85.0], buffer, after_ms=300)
    assert buffer.stats.dropped_samples > 0
    assert largest_jump(played.pcm) < NO_CLICK


def test_one_write_larger_than_the_buffer_keeps_its_end() -> None:
    buffer = PlayoutBuffer(RATE_HZ, prefill_ms=0, capacity_ms=80)
    buffer.write(tone(5000))
    assert buffer.stats.dropped_samples == 5000 - FRAME_SAMPLES
    buffer.flush()
    assert_same(buffer.read(FRAME_SAMPLES)[CALLBACK_SAMPLES:], tone(5000)[-FRAME_SAMPLES:][CALLBACK_SAMPLES:])


def test_flush_plays_the_rest_and_counts_no_underrun() -> None:
    buffer = PlayoutBuffer(RATE_HZ, prefill_ms=80)
    buffer.write(tone(700))
    assert not buffer.read(480).any()
    buffer.flush()
    out = np.concatenate([buffer.read(480) for _ in range(6)])
    assert_same(out[240:700], tone(700)[240:])
    assert not out[-480:].any()
    assert buffer.empty
    assert (buffer.stats.underruns, buffer.stats.gap_ms) == (0, 0)


def test_the_rest_of_a_talk_is_played_whole_however_long_it_is() -> None:
    buffer = PlayoutBuffer(RATE_HZ, capacity_ms=10_000)
    buffer.write(tone(9 * RATE_HZ))
    buffer.flush()
    heard = np.concatenate([buffer.read(480) for _ in range(9 * RATE_HZ // 480)])
    assert_same(heard[480:], tone(9 * RATE_HZ)[480:])


def test_what_is_to_be_played_exactly_is_not_touched_however_much_waits() -> None:
    buffer = PlayoutBuffer(RATE_HZ, capacity_ms=1000, exact=True)
    played = play([0.0] * 6 + [FRAME_MS * number for number in range(1, 60)], buffer)
    heard = played.pcm[PREFILL_MS * RATE_HZ // 1000 :]
    assert_same(heard[480:], tone(len(heard))[480:])


@pytest.mark.parametrize("samples", [1, 7, 333, 5000])
def test_the_speaker_may_ask_for_any_number_of_samples(samples: int) -> None:
    buffer = PlayoutBuffer(RATE_HZ, prefill_ms=0, capacity_ms=1000)
    out = []
    for written in (1940, 100, 3000, 50):
        buffer.write(tone(written))
        out += [buffer.read(samples) for _ in range(6000 // samples)]
    assert {len(block) for block in out} == {samples}
    assert largest_jump(np.concatenate(out)) < NO_CLICK


def test_a_writer_and_a_reader_in_two_threads_lose_nothing() -> None:
    buffer = PlayoutBuffer(RATE_HZ, prefill_ms=0, capacity_ms=10_000, exact=True)
    pcm = np.arange(1, 200_001, dtype=np.float32)

    def write() -> None:
        for block in np.array_split(pcm, 999):
            buffer.write(block)

    writer = threading.Thread(target=write)
    writer.start()
    heard = 0.0
    while writer.is_alive() or not buffer.empty:
        heard = max(heard, float(buffer.read(333).max()))
    writer.join()
    assert heard >= 200_000
    assert buffer.stats.dropped_samples == 0
