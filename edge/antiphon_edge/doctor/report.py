"""Whether this device keeps up with a conversation: the codec timed on it, and what the times amount to.

report = examine(Path("codec"), threads=1, seconds=5)
print(format_report(report))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt

from antiphon_edge.codec.codec import Codec
from antiphon_edge.doctor.advice import advice
from antiphon_edge.doctor.device import Device, LiveAudio, find_device, find_live_audio
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
class Report:
    """What the doctor found."""

    device: Device
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
    live_audio: LiveAudio
    sound: SoundCheck | None
    """None where it was not tried."""
    worker: WorkerCheck | None
    """None where none was asked."""
    mend: list[str]
    """What to do, the first thing first."""
    keeps_up: bool
    verdict: str


def examine(
    folder: str | Path,
    threads: int = 1,
    seconds: float = DEFAULT_SECONDS,
    *,
    sound: SoundCheck | None = None,
    worker: WorkerCheck | None = None,
) -> Report:
    """Times the codec in `folder` for `seconds` with `threads` threads a step, and looks at the device.

    Args:
        folder: of an exported codec.
        threads: of a step.
        seconds: how long to measure.
        sound: how the devices were tried; None where they were not.
        worker: what it said; None where none was asked.

    Raises:
        CodecFilesError: a file of the codec is missing, damaged, or made by a newer version.
    """
    start = perf_counter()
    codec = Codec.load(folder, threads=threads)
    timing = time_frames(codec.encoder(), codec.decoder(), codec.spec.frame_samples, start, seconds)
    return diagnose(
        timing,
        find_device(),
        find_live_audio(),
        codec=str(folder),
        precision=codec.manifest.precision,
        threads=threads,
        frame_ms=1e3 * codec.spec.frame_s,
        sound=sound,
        worker=worker,
    )


def diagnose(
    timing: Timing,
    device: Device,
    live_audio: LiveAudio,
    *,
    codec: str,
    precision: str,
    threads: int,
    frame_ms: float,
    sound: SoundCheck | None = None,
    worker: WorkerCheck | None = None,
) -> Report:
    """What the times amount to."""
    both = Spread.of(np.add(timing.encode_ms, timing.decode_ms))
    keeps_up, verdict = judge(both, frame_ms, precision=precision, threads=threads, cores=device.cores)
    memory = timing.peak_memory_bytes
    return Report(
        device=device,
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
        live_audio=live_audio,
        sound=sound,
        worker=worker,
        mend=advice(live_audio, sound, worker),
        keeps_up=keeps_up,
        verdict=verdict,
    )


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
    device, audio = report.device, report.live_audio
    threads = "1 thread" if report.threads == 1 else f"{report.threads} threads"
    memory = "not told by this system" if report.peak_memory_mib is None else f"{report.peak_memory_mib:.0f} MiB"
    rows = {
        "device": f"{device.name}, {device.cores} cores, {device.system}",
        "software": f"Python {device.python}, onnxruntime {device.onnxruntime}",
        "codec": f"{report.codec}, {report.precision}, {threads}, {report.frames} frames of {report.frame_ms:.0f} ms",
        "start": f"{report.start_ms:.0f} ms from opening the codec to the first frame",
        "peak memory": memory,
        "live audio": audio.missing or f"microphone {audio.microphone!r}, speaker {audio.speaker!r}",
    }
    rows |= _sound_rows(report.sound) | _worker_row(report.worker)
    lines = [f"{name:<13}{value}" for name, value in rows.items()]
    lines += ["", f"{'ms a frame':<13}{'p50':>9}{'p95':>9}{'p99':>9}"]
    spreads = {"encode": report.encode, "decode": report.decode, "both": report.both}
    for name, spread in spreads.items():
        lines.append(f"{name:<13}{spread.p50_ms:>9.2f}{spread.p95_ms:>9.2f}{spread.p99_ms:>9.2f}")
    lines += ["", f"real-time factor {report.real_time_factor:.3f}"]
    if report.mend:
        lines += ["", "To mend, in this order:", *(f"{at}. {what}" for at, what in enumerate(report.mend, 1)), ""]
    lines += [f"This device {report.verdict}"]
    return "\n".join(lines)


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


def _worker_row(worker: WorkerCheck | None) -> dict[str, str]:
    if worker is None:
        return {}
    if worker.problem is not None:
        return {"worker": worker.problem}
    step = f", {worker.step_ms:.0f} ms a step" if worker.step_ms else ""
    trip = f"{worker.round_trip_ms:.0f} ms there and back (at most {worker.slowest_ms:.0f})"
    return {"worker": f"{worker.address}, {worker.model}, {trip}{step}, {worker.free_slots} slots free"}
