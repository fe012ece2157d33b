"""Whether this device keeps up with a conversation: the codec timed on it, and what the times amount to.

around = Surroundings(find_device(), find_live_audio())
print(format_report(diagnose(around, measure("codec", threads=1, seconds=5))))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from antiphon_edge.codec.codec import Codec
from antiphon_edge.doctor.advice import advice
from antiphon_edge.doctor.device import Device, LiveAudio
from antiphon_edge.doctor.sound_check import SoundCheck
from antiphon_edge.doctor.timing import Timing, time_frames
from antiphon_edge.doctor.worker import WorkerCheck

DEFAULT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Spread:
    """How long something took, over many frames."""

    p50_ms: float
    p95_ms: float
    p99_ms: float

    @classmethod
    def of(cls, times_ms: Sequence[float] | npt.NDArray[np.float64]) -> Spread:
        """The percentiles of `times_ms` [N], N ≥ 1."""
        p50, p95, p99 = np.percentile(times_ms, [50, 95, 99])
        return cls(float(p50), float(p95), float(p99))


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast the codec is here."""

    codec: str
    precision: str
    threads: int
    frame_ms: float
    frames: int
    start_ms: float
    encode: Spread
    decode: Spread
    both: Spread
    real_time_factor: float
    """Median of encode and decode together ÷ length of a frame."""
    peak_memory_mib: float | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was found of the device and the worker, without the codec."""

    device: Device
    live_audio: LiveAudio
    sound: SoundCheck | None = None
    """None where it was not tried."""
    worker: WorkerCheck | None = None
    """None where none was asked."""
    transcriber: WorkerCheck | None = None
    """None where none is named."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the doctor found."""

    around: Surroundings
    speed: Speed | None
    """None where there was no codec to measure."""
    mend: list[str]
    """What to do, the first thing first."""
    keeps_up: bool
    verdict: str

    def as_fields(self) -> dict[str, Any]:
        """All of it in one flat table, for JSON."""
        speed = dict.fromkeys(Speed.__slots__) if self.speed is None else asdict(self.speed)
        told = {"mend": self.mend, "keeps_up": self.keeps_up, "verdict": self.verdict}
        return {**asdict(self.around), **speed, **told}


def measure(folder: str | Path, threads: int = 1, seconds: float = DEFAULT_SECONDS) -> Speed:
    """Times the codec in `folder` for `seconds`, with `threads` threads a step.

    Raises:
        CodecFilesError: a file of the codec is missing, damaged, or made by a newer version.
    """
    start = perf_counter()
    codec = Codec.load(folder, threads=threads)
    timing = time_frames(codec.encoder(), codec.decoder(), codec.spec.frame_samples, start, seconds)
    return summarize(
        timing,
        codec=str(folder),
        precision=codec.manifest.precision,
        threads=threads,
        frame_ms=1e3 * codec.spec.frame_s,
    )


def summarize(timing: Timing, *, codec: str, precision: str, threads: int, frame_ms: float) -> Speed:
    """What the times amount to."""
    both = Spread.of(np.add(timing.encode_ms, timing.decode_ms))
    memory = timing.peak_memory_bytes
    return Speed(
        codec=codec,
        precision=precision,
        threads=threads,
        frame_ms=frame_ms,
        frames=len(timing.encode_ms),
        start_ms=timing.start_ms,
        encode=Spread.of(timing.encode_ms),
        decode=Spread.of(timing.decode_ms),
        both=both,
        real_time_factor=both.p50_ms / frame_ms,
        peak_memory_mib=None if memory is None else memory / 2**20,
    )


def diagnose(around: Surroundings, speed: Speed | None, codec_problem: str | None = None) -> Report:
    """What is to be said of all that was found.

    Args:
        around: device and worker.
        speed: the codec's; None where there is none.
        codec_problem: why there is none, where the worker's problem does not say it.
    """
    keeps_up, verdict = False, "was not measured: there is no codec."
    if speed is not None:
        keeps_up, verdict = judge(
            speed.both, speed.frame_ms, precision=speed.precision, threads=speed.threads, cores=around.device.cores
        )
    mend = advice(
        around.live_audio,
        around.sound,
        around.worker,
        codec_problem=codec_problem,
        too_slow=None if keeps_up or speed is None else f"this device {verdict.rstrip('.')}",
        transcriber=around.transcriber,
    )
    return Report(around, speed, mend, keeps_up, verdict)


def judge(both: Spread, frame_ms: float, *, precision: str, threads: int, cores: int) -> tuple[bool, str]:
    """Whether 95 of 100 frames are encoded and decoded within a frame (the playout buffer hides the few that are late),
    and a sentence that says so, or what to do.
    """
    spare = 1 - both.p95_ms / frame_ms
    if spare >= 0:
        return True, f"keeps up with {int(100 * spare)} % to spare."
    ways = ["closing other programs"] if both.p50_ms <= frame_ms else []  # fast enough, but disturbed
    ways += [f"--threads {threads + 1}"] if threads < cores else []
    ways += ["a codec exported with --precision int8"] if precision != "int8" else []
    return False, (
        f"does not keep up: 95 of 100 frames of {frame_ms:.0f} ms take up to {both.p95_ms:.0f} ms; "
        f"try {' or '.join([*ways, 'a faster device'])}."
    )


def format_report(report: Report) -> str:
    """The report as a table, with the verdict as its last line."""
    around, speed = report.around, report.speed
    device, audio = around.device, around.live_audio
    rows = {
        "device": f"{device.name}, {device.cores} cores, {device.system}",
        "software": f"Python {device.python}, onnxruntime {device.onnxruntime}",
        "live audio": f"microphone {_named(audio.microphone)}, speaker {_named(audio.speaker)}",
    }
    rows |= _sound_rows(around.sound) | _worker_row("worker", around.worker)
    rows |= _worker_row("transcriber", around.transcriber) | _codec_rows(speed)
    lines = [f"{name:<13}{value}" for name, value in rows.items()]
    if speed is not None:
        lines += ["", f"{'ms a frame':<13}{'p50':>9}{'p95':>9}{'p99':>9}"]
        for name, spread in {"encode": speed.encode, "decode": speed.decode, "both": speed.both}.items():
            lines.append(f"{name:<13}{spread.p50_ms:>9.2f}{spread.p95_ms:>9.2f}{spread.p99_ms:>9.2f}")
        lines += ["", f"real-time factor {speed.real_time_factor:.3f}"]
    if report.mend:
        lines += ["", "To mend, in this order:", *(f"{at}. {what}" for at, what in enumerate(report.mend, 1)), ""]
    lines += [f"This device {report.verdict}"]
    return "\n".join(lines)


def _named(device: str | None) -> str:
    return "none" if device is None else repr(device)


def _codec_rows(speed: Speed | None) -> dict[str, str]:
    if speed is None:
        return {}
    threads = "1 thread" if speed.threads == 1 else f"{speed.threads} threads"
    memory = "not told by this system" if speed.peak_memory_mib is None else f"{speed.peak_memory_mib:.0f} MiB"
    return {
        "codec": f"{speed.codec}, {speed.precision}, {threads}, {speed.frames} frames of {speed.frame_ms:.0f} ms",
        "start": f"{speed.start_ms:.0f} ms from opening the codec to the first frame",
        "peak memory": memory,
    }


def _sound_rows(sound: SoundCheck | None) -> dict[str, str]:
    if sound is None or sound.problem is not None:
        return {}
    room = "digital silence" if sound.room_dbfs is None else f"{sound.room_dbfs:.0f} dBFS"
    if sound.echo is None:
        echo = "none is heard: headphones, or the speaker is off"
    else:
        known = sound.echo.skew_ppm is not None and not sound.losses
        skew = f", clocks {sound.echo.skew_ppm:+.0f} ppm apart" if known else ""
        echo = f"{sound.echo.gain_db:+.0f} dB, {sound.echo.delay_ms:.0f} ms from playing to hearing{skew}"
    return {"room": room, "echo": echo}


def _worker_row(name: str, worker: WorkerCheck | None) -> dict[str, str]:
    if worker is None:
        return {}
    if worker.problem is not None:
        return {name: f"{worker.address}, no answer that is of use"}
    step = f", {worker.step_ms:.0f} ms a step" if worker.step_ms else ""
    trip = f"{worker.round_trip_ms:.0f} ms there and back (at most {worker.slowest_ms:.0f})"
    return {name: f"{worker.address}, {worker.model}, {trip}{step}, {worker.free_slots} slots free"}
