"""The playout buffer, without a sound card."""

import math
import threading

import numpy as np
import pytest

from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.audio.playout import FADE_MS, PlayoutBuffer

RATE_HZ = 24_000
FRAME_SAMPLES = 1920
CALLBACK_SAMPLES = 480
CALLBACKS_PER_FRAME = FRAME_SAMPLES // CALLBACK_SAMPLES
FADE_SAMPLES = FADE_MS * RATE_HZ // 1000


def tone(samples: int, start: int = 0) -> Pcm:
    phase = 2 * np.pi * 300 / RATE_HZ * np.arange(start, start + samples)
    return np.asarray(np.sin(phase), np.float32)


def steepest(pcm: Pcm) -> float:
    return float(np.abs(np.diff(pcm, prepend=np.float32(0))).max())


STEEPEST_TONE = 2 * np.pi * 300 / RATE_HZ
STEEPEST_FADE = STEEPEST_TONE + 1 / FADE_SAMPLES + 1e-6


def test_the_first_audio_waits_for_the_prefill_to_the_sample() -> None:
    buffer = PlayoutBuffer(RATE_HZ, prefill_ms=30)
    assert not buffer.read(480).any(), "the wait begins with the first audio"
    pcm = tone(2 * FRAME_SAMPLES) + 2
    buffer.write(pcm)
    out = np.concatenate([buffer.read(480) for _ in range(9)])
    assert not out[:720].any()
    assert np.array_equal(out[720 + FADE_SAMPLES :], pcm[FADE_SAMPLES : len(out) - 720])
    assert out[720:].all()
    assert buffer.stats.underruns == 0


def test_an_underrun_fades_is_counted_once_and_waits_again() -> None:
    buffer = PlayoutBuffer(RATE_HZ, prefill_ms=20)
    peak = 1940  # the tone ends at its peak: the worst click
    buffer.write(tone(peak))
    out = [buffer.read(480) for _ in range(8)]
    assert buffer.stats.underruns == 1
    buffer.write(tone(1440, start=20))  # the next begins at its peak
    out += [buffer.read(480) for _ in range(4)]
    assert buffer.stats.underruns == 1
    pcm = np.concatenate(out)[480:]
    assert abs(pcm[peak - 1]) > 0.9
    assert steepest(pcm) < STEEPEST_FADE
    assert pcm[peak : peak + FADE_SAMPLES].all()
    assert not pcm[peak + FADE_SAMPLES : 8 * 480].any()
    assert np.array_equal(pcm[8 * 480 + FADE_SAMPLES :], tone(3 * 480, start=20)[FADE_SAMPLES:])


@pytest.mark.parametrize("read_samples", [1, 7, 480, 5000])
def test_no_clicks_whatever_the_callback_size(read_samples: int) -> None:
    buffer = PlayoutBuffer(RATE_HZ, prefill_ms=0, capacity_ms=1000)
    out = []
    for written in (1940, 100, 3000, 0, 50):
        buffer.write(tone(written))
        out += [buffer.read(read_samples) for _ in range(6000 // read_samples)]
    assert steepest(np.concatenate(out)) < STEEPEST_FADE


def test_overflow_drops_the_oldest() -> None:
    buffer = PlayoutBuffer(RATE_HZ, prefill_ms=0, capacity_ms=160)
    pcm = tone(4 * FRAME_SAMPLES)
    buffer.write(pcm[: 3 * FRAME_SAMPLES])
    assert buffer.stats.dropped_samples == FRAME_SAMPLES
    assert buffer.stats.level_ms == 160
    out = [buffer.read(500)]
    buffer.write(pcm[3 * FRAME_SAMPLES :])
    assert buffer.stats.dropped_samples == 2 * FRAME_SAMPLES - 500
    out += [buffer.read(FRAME_SAMPLES), buffer.read(FRAME_SAMPLES)]
    joined = np.concatenate(out)
    assert np.array_equal(joined[500 + FADE_SAMPLES :], pcm[2 * FRAME_SAMPLES + FADE_SAMPLES :])
    assert steepest(joined) < 2 * STEEPEST_FADE


def test_one_write_larger_than_the_buffer_keeps_its_end() -> None:
    buffer = PlayoutBuffer(RATE_HZ, prefill_ms=0, capacity_ms=80)
    buffer.write(tone(5000))
    assert buffer.stats.dropped_samples == 5000 - FRAME_SAMPLES
    assert np.array_equal(buffer.read(FRAME_SAMPLES)[FADE_SAMPLES:], tone(5000)[-FRAME_SAMPLES:][FADE_SAMPLES:])


def test_flush_plays_the_rest_and_counts_no_underrun() -> None:
    buffer = PlayoutBuffer(RATE_HZ, prefill_ms=80)
    buffer.write(tone(700))
    assert not buffer.read(480).any()
    buffer.flush()
    out = np.concatenate([buffer.read(480) for _ in range(3)])
    assert np.array_equal(out[FADE_SAMPLES:700], tone(700)[FADE_SAMPLES:])
    assert not out[700 + FADE_SAMPLES :].any()
    assert buffer.empty
    assert buffer.stats.underruns == 0
    buffer.write(tone(700))
    assert not buffer.read(480).any(), "writing asks for the prefill again"


def play(arrivals_ms: list[float], prefill_ms: float) -> tuple[Pcm, PlayoutBuffer]:
    """Frame i arrives at `arrivals_ms[i]`; the speaker asks every 20 ms until a second after the last."""
    buffer = PlayoutBuffer(RATE_HZ, prefill_ms=prefill_ms)
    waiting = sorted((at, number) for number, at in enumerate(arrivals_ms))
    out = []
    for now_ms in np.arange(0, max(arrivals_ms) + 1000, 20):
        while waiting and waiting[0][0] <= now_ms:
            buffer.write(tone(FRAME_SAMPLES, waiting.pop(0)[1] * FRAME_SAMPLES))
        out.append(buffer.read(CALLBACK_SAMPLES))
    return np.concatenate(out), buffer


def test_one_frame_hides_the_jitter_of_wifi() -> None:
    jitter_ms = np.random.default_rng(1).uniform(0, 60, 100)
    pcm, buffer = play([80 * i + j for i, j in enumerate(jitter_ms)], prefill_ms=80)
    assert buffer.stats.underruns == 1, "only the end"
    assert buffer.stats.dropped_samples == 0
    start = int(np.flatnonzero(pcm)[0]) - 1  # the tone's first sample is 0
    whole = pcm[start : start + 100 * FRAME_SAMPLES]
    assert np.abs(whole - tone(len(whole)))[FADE_SAMPLES:].max() < 1e-6


def test_without_a_prefill_the_same_jitter_is_heard() -> None:
    jitter_ms = np.random.default_rng(1).uniform(0, 60, 100)
    _, buffer = play([80 * i + j for i, j in enumerate(jitter_ms)], prefill_ms=0)
    assert buffer.stats.underruns > 1


def test_lost_frames_and_a_stall_are_bounded_and_clickless() -> None:
    arrivals = [80.0 * i for i in range(100)]
    arrivals[50:60] = [80.0 * 60] * 10  # 800 ms of nothing, then all at once
    lost = {20, 21, 75}
    pcm, buffer = play([at for i, at in enumerate(arrivals) if i not in lost], prefill_ms=80)
    stats = buffer.stats
    assert 3 <= stats.underruns <= 4
    assert 0 < stats.dropped_samples <= 8 * FRAME_SAMPLES
    assert stats.level_ms == 0
    assert steepest(pcm) < 2 * STEEPEST_FADE


def level_before_frames(arrivals_ms: list[float]) -> tuple[list[float], PlayoutBuffer]:
    """What waits as each frame comes, in milliseconds; the speaker asks every 20 ms."""
    buffer = PlayoutBuffer(RATE_HZ)
    levels, now_ms = [], 0.0
    for number, at_ms in enumerate(arrivals_ms):
        while now_ms < at_ms:
            buffer.read(CALLBACK_SAMPLES)
            now_ms += 20
        levels.append(buffer.stats.level_ms)
        buffer.write(tone(FRAME_SAMPLES, number * FRAME_SAMPLES))
    return levels, buffer


def test_what_piled_up_in_a_stall_delays_the_rest_of_the_talk_for_two_seconds_only() -> None:
    arrivals = [80.0 * number for number in range(120)]
    arrivals[40:44] = [80.0 * 43] * 4  # 320 ms of nothing, then four frames at once
    levels, buffer = level_before_frames(arrivals)
    usual = levels[30]
    assert levels[50] > usual + 200
    assert levels[-1] == usual
    assert buffer.stats.dropped_samples == (levels[50] - usual) * RATE_HZ / 1000


def test_the_rest_of_a_talk_is_played_whole_however_long_it_is() -> None:
    buffer = PlayoutBuffer(RATE_HZ, capacity_ms=10_000)
    buffer.write(tone(9 * RATE_HZ))
    buffer.flush()
    heard = np.concatenate([buffer.read(CALLBACK_SAMPLES) for _ in range(9 * RATE_HZ // CALLBACK_SAMPLES)])
    np.testing.assert_array_equal(heard[FADE_SAMPLES:], tone(9 * RATE_HZ)[FADE_SAMPLES:])


def test_a_talk_without_a_stall_loses_nothing_however_long_and_jittery() -> None:
    jitter_ms = np.random.default_rng(1).uniform(0, 60, 2000)
    _, buffer = level_before_frames([80 * i + j for i, j in enumerate(jitter_ms)])
    assert (buffer.stats.dropped_samples, buffer.stats.underruns) == (0, 0)


def test_a_writer_and_a_reader_in_two_threads_lose_nothing() -> None:
    buffer = PlayoutBuffer(RATE_HZ, prefill_ms=0, capacity_ms=10_000, standing_ms=math.inf)
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
    assert heard == 200_000
    assert buffer.stats.dropped_samples == 0
