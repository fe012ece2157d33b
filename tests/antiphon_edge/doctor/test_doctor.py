"""antiphon-edge doctor: what the times on a device amount to, and one real run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from antiphon_edge.audio.devices import AudioDevice
from antiphon_edge.doctor.advice import advice
from antiphon_edge.doctor.device import Device, LiveAudio, choose_defaults, find_device
from antiphon_edge.doctor.echo_path import EchoPath
from antiphon_edge.doctor.report import Report, Spread, diagnose, format_report, judge
from antiphon_edge.doctor.sound_check import SoundCheck
from antiphon_edge.doctor.timing import Timing
from antiphon_edge.doctor.worker import WorkerCheck, check_worker
from antiphon_edge.transport.credentials import PLAINTEXT
from tests.support.commands import one_sentence, run
from tests.support.ports import unused_address
from tests.support.servers import StubOptions, stub_server
from tools.harness.stub_runner import StubRunner

PI = Device("Raspberry Pi 4 Model B Rev 1.4, aarch64", 4, "Linux aarch64", "3.11.2", "1.23.2")
SILENT = LiveAudio(None, None, "live audio needs PyAudio, which is not here")


def report(
    encode_ms: float, decode_ms: float, *, peak: int | None = 100 * 2**20, live_audio: LiveAudio = SILENT
) -> Report:
    timing = Timing(512.0, (encode_ms,) * 50, (decode_ms,) * 50, peak)
    return diagnose(timing, PI, live_audio, codec="codec", precision="int8", threads=1, frame_ms=80.0)


def late(p95_ms: float) -> Spread:
    return Spread(p50_ms=p95_ms - 1, p95_ms=p95_ms, p99_ms=p95_ms + 1)


def sound_device(name: str, *, default_input: bool = False, default_output: bool = False) -> AudioDevice:
    return AudioDevice(0, name, 1, 1, 48_000, default_input, default_output)


def test_percentiles_are_of_all_frames() -> None:
    assert Spread.of(range(101)) == Spread(50.0, 95.0, 99.0)


def test_encode_and_decode_of_a_frame_count_together() -> None:
    found = report(30.0, 20.0)
    assert found.both == Spread(50.0, 50.0, 50.0)
    assert found.real_time_factor == 50 / 80
    assert found.keeps_up
    assert found.verdict == "keeps up with 37 % to spare."


def test_what_counts_is_the_95th_percentile() -> None:
    frame_ms = (10.0,) * 90
    hiccups = Timing(0.0, frame_ms + (200.0,) * 4, frame_ms + (0.0,) * 4, None)  # 4 of 94
    stutters = Timing(0.0, frame_ms + (200.0,) * 10, frame_ms + (0.0,) * 10, None)  # 10 of 100

    def keeps_up(timing: Timing) -> bool:
        found = diagnose(timing, PI, SILENT, codec="codec", precision="int8", threads=1, frame_ms=80.0)
        return found.keeps_up

    assert keeps_up(hiccups)
    assert not keeps_up(stutters)


@pytest.mark.parametrize(("p95_ms", "keeps_up"), [(79.9, True), (80.0, True), (80.1, False)])
def test_a_frame_is_the_limit(p95_ms: float, keeps_up: bool) -> None:
    assert judge(late(p95_ms), 80.0, precision="int8", threads=1, cores=1)[0] is keeps_up


@pytest.mark.parametrize(
    ("precision", "threads", "ways"),
    [
        ("fp32", 1, "try --threads 2 or a codec exported with --precision int8 or a faster device."),
        ("fp32", 4, "try a codec exported with --precision int8 or a faster device."),
        ("int8", 2, "try --threads 3 or a faster device."),
        ("int8", 4, "try a faster device."),
    ],
)
def test_a_device_that_is_too_slow_learns_what_is_left_to_do(precision: str, threads: int, ways: str) -> None:
    keeps_up, verdict = judge(late(112.0), 80.0, precision=precision, threads=threads, cores=4)
    assert not keeps_up
    assert verdict == f"does not keep up: 95 of 100 frames of 80 ms take up to 112 ms; {ways}"


def test_a_device_that_is_only_disturbed_is_told_so() -> None:
    disturbed = Spread(p50_ms=50.0, p95_ms=112.0, p99_ms=115.0)
    keeps_up, verdict = judge(disturbed, 80.0, precision="int8", threads=4, cores=4)
    assert not keeps_up
    assert "try closing other programs or a faster device." in verdict


def test_the_table_holds_every_figure_and_ends_with_the_verdict() -> None:
    found = report(30.0, 20.0, live_audio=LiveAudio("headset", "loudspeaker", None))
    text = format_report(found)
    for words in (
        "Raspberry Pi 4 Model B Rev 1.4, aarch64, 4 cores, Linux aarch64",
        "Python 3.11.2, onnxruntime 1.23.2",
        "codec, int8, 1 thread, 50 frames of 80 ms",
        "512 ms from opening the codec",
        "100 MiB",
        "microphone 'headset', speaker 'loudspeaker'",
        "real-time factor 0.625",
    ):
        assert words in text
    assert "encode           30.00    30.00    30.00" in text
    assert text.splitlines()[-1] == "This device keeps up with 37 % to spare."


def test_the_table_says_what_is_missing() -> None:
    text = format_report(report(1.0, 1.0, peak=None))
    assert "peak memory  not told by this system" in text
    assert "live audio   live audio needs PyAudio" in text


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ([], LiveAudio(None, None, "there is no default microphone and no default speaker")),
        (
            [sound_device("speaker", default_output=True)],
            LiveAudio(None, "speaker", "there is no default microphone"),
        ),
        (
            [sound_device("mic", default_input=True), sound_device("other"), sound_device("out", default_output=True)],
            LiveAudio("mic", "out", None),
        ),
    ],
)
def test_live_audio_needs_both_defaults(devices: list[AudioDevice], expected: LiveAudio) -> None:
    assert choose_defaults(devices) == expected


def test_every_device_has_a_name_and_a_core() -> None:
    device = find_device()
    assert device.name
    assert device.cores >= 1


def test_a_real_run_on_the_tiny_codec(tiny_codec: Path) -> None:
    finished = run("antiphon-edge", "doctor", "--codec", tiny_codec, "--seconds", "1", "--no-sound")
    verdict = finished.out.splitlines()[-1]
    assert "This device keeps up with" in verdict or "This device does not keep up" in verdict, finished
    assert finished.status == ("does not keep up" in verdict)  # on a machine that is busy with other things
    assert finished.err == ""


def test_json_tells_the_same(tiny_codec: Path) -> None:
    finished = run("antiphon-edge", "doctor", "--codec", tiny_codec, "--seconds", "1", "--no-sound", "--json")
    found = json.loads(finished.out)
    assert found["keeps_up"] is (found["both"]["p95_ms"] <= 80)
    assert finished.status == (not found["keeps_up"]), finished
    assert found["frames"] >= 3
    assert found["threads"] == 1
    assert 0 < found["encode"]["p50_ms"] <= found["encode"]["p95_ms"] <= found["encode"]["p99_ms"]
    assert found["start_ms"] > found["both"]["p50_ms"]
    assert found["peak_memory_mib"] is None or 10 < found["peak_memory_mib"] < 1000


SOUND = SoundCheck(None, "mic", "speaker", -60.0, -30.0, EchoPath(180.0, -12.0, 20.0), 0)
WORKER = WorkerCheck("a:1", None, "clerk", 20.0, 30.0, 6.0, 3)
BOTH = LiveAudio("mic", "speaker", None)


@pytest.mark.parametrize(
    ("audio", "sound", "worker", "mend"),
    [
        (BOTH, SOUND, WORKER, []),
        (BOTH, None, None, []),
        (SILENT, None, None, ["live audio needs PyAudio"]),
        (BOTH, SoundCheck("speaker 'x' is busy"), None, ["speaker 'x' is busy"]),
        (BOTH, replace(SOUND, peak_dbfs=None, echo=None), None, ["sends nothing but zeros: unmute it"]),
        (BOTH, replace(SOUND, peak_dbfs=0.0), None, ["is overdriven: turn its gain"]),
        (BOTH, replace(SOUND, peak_dbfs=-55.0), None, ["hears little: turn its gain up"]),
        (BOTH, replace(SOUND, peak_dbfs=-55.0, echo=None), None, []),  # headphones
        (BOTH, replace(SOUND, losses=3), None, ["sound was lost 3 times"]),
        (BOTH, replace(SOUND, echo=EchoPath(180.0, -12.0, -400.0)), None, ["400 ppm apart: use one device for both"]),
        (
            BOTH,
            replace(SOUND, echo=EchoPath(500.0, 3.0, 0.0)),
            None,
            ["500 ms from the speaker", "echo is louder than"],
        ),
        (SILENT, None, WorkerCheck("a:1", "no worker answers at a:1"), ["PyAudio", "no worker answers at a:1"]),
        (BOTH, SOUND, replace(WORKER, slower_than_real_time=True, step_ms=99.0), ["takes 99 ms for a frame of 80"]),
        (BOTH, SOUND, replace(WORKER, draining=True, free_slots=0), ["is being shut down"]),
        (BOTH, SOUND, replace(WORKER, free_slots=0), ["the worker is full"]),
        (BOTH, SOUND, replace(WORKER, round_trip_ms=200.0, slowest_ms=900.0), ["the network takes 200 ms"]),
        (BOTH, SOUND, replace(WORKER, slowest_ms=300.0), ["unsteady, 20 to 300 ms: use a cable"]),
    ],
)
def test_what_is_to_mend_is_told_in_order(
    audio: LiveAudio, sound: SoundCheck | None, worker: WorkerCheck | None, mend: list[str]
) -> None:
    found = advice(audio, sound, worker)
    assert len(found) == len(mend)
    assert all(words in sentence for words, sentence in zip(mend, found, strict=True)), found


def test_the_table_has_the_echo_the_worker_and_what_to_mend() -> None:
    timing = Timing(512.0, (30.0,) * 50, (20.0,) * 50, None)
    full = replace(WORKER, free_slots=0)
    found = diagnose(
        timing, PI, BOTH, codec="codec", precision="int8", threads=1, frame_ms=80.0, sound=SOUND, worker=full
    )
    text = format_report(found)
    assert "room         -60 dBFS" in text
    assert "echo         -12 dB, 180 ms from playing to hearing, clocks +20 ppm apart" in text
    assert "worker       a:1, clerk, 20 ms there and back (at most 30), 6 ms a step, 0 slots free" in text
    assert "To mend, in this order:\n1. the worker is full: use another, or come back later\n" in text
    assert text.splitlines()[-1] == "This device keeps up with 37 % to spare."


async def test_a_worker_tells_its_room_and_how_fast_it_answers() -> None:
    async with stub_server(StubOptions(StubRunner(3))) as server:
        found = await check_worker(server.address, PLAINTEXT)
    assert (found.problem, found.free_slots, found.draining) == (None, 3, False)
    assert 0 < found.round_trip_ms <= found.slowest_ms


async def test_a_worker_that_does_not_answer_is_a_finding_and_no_error() -> None:
    address = unused_address()
    found = await check_worker(address, PLAINTEXT)
    assert found.problem is not None
    assert address in found.problem


def test_a_missing_codec_is_one_sentence(tmp_path: Path) -> None:
    assert "codec.json" in one_sentence(run("antiphon-edge", "doctor", "--codec", tmp_path))


def test_nobody_to_pull_the_codec_from_is_one_sentence() -> None:
    address = unused_address()
    assert f"no worker answers at {address}" in one_sentence(run("antiphon-edge", "doctor", "--server", address))


@pytest.mark.parametrize(("flag", "value"), [("--seconds", "0"), ("--seconds", "nan"), ("--threads", "0")])
def test_wrong_usage_is_one_sentence_and_status_2(flag: str, value: str, tiny_codec: Path) -> None:
    finished = run("antiphon-edge", "doctor", "--codec", tiny_codec, flag, value)
    assert flag in one_sentence(finished, status=2)
