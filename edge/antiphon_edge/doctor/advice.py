"""What stands between this device and a good conversation, the first thing to mend first."""

from __future__ import annotations

from antiphon_edge.doctor.device import LiveAudio
from antiphon_edge.doctor.sound_check import SoundCheck
from antiphon_edge.doctor.worker import WorkerCheck

SLOW_NETWORK_MS = 150.0
UNSTEADY_NETWORK_MS = 240.0  # between the usual call and the slowest: replies would be skipped
CLIPPING_DBFS = -0.5
FAINT_DBFS = -40.0  # the loudest that was heard, though the speaker plays at -20
LOUD_ECHO_DB = 0.0
SKEW_PPM = 300.0
LATE_MS = 400.0


def advice(live_audio: LiveAudio, sound: SoundCheck | None, worker: WorkerCheck | None) -> list[str]:
    """Sentences, each with what was found and what to do; none where all is well."""
    found = [] if live_audio.missing is None else [f"{live_audio.missing}: connect it, or talk with wav files"]
    if sound is not None and not found:
        found += [sound.problem] if sound.problem is not None else _of_sound(sound)
    if worker is not None:
        found += [worker.problem] if worker.problem is not None else _of_worker(worker)
    return found


def _of_sound(sound: SoundCheck) -> list[str]:
    found = []
    if sound.peak_dbfs is None:
        found.append(f"the microphone {sound.microphone!r} sends nothing but zeros: unmute it, or see its switch")
    elif sound.peak_dbfs > CLIPPING_DBFS:
        found.append("the microphone is overdriven: turn its gain or the speaker down")
    elif sound.echo is not None and sound.peak_dbfs < FAINT_DBFS:
        found.append("the microphone hears little: turn its gain up")
    if sound.losses:
        found.append(
            f"sound was lost {sound.losses} times, so the figures of the echo are not to be trusted: close other "
            "programs, and try again"
        )
    elif sound.echo is not None:
        if sound.echo.skew_ppm is not None and abs(sound.echo.skew_ppm) > SKEW_PPM:
            found.append(
                f"the clocks of microphone and speaker run {abs(sound.echo.skew_ppm):.0f} ppm apart: use one device "
                "for both"
            )
        if sound.echo.delay_ms > LATE_MS:
            found.append(
                f"sound takes {sound.echo.delay_ms:.0f} ms from the speaker to the microphone: choose a device without "
                "Bluetooth"
            )
        if sound.echo.gain_db > LOUD_ECHO_DB:
            found.append("the echo is louder than what is played: turn the speaker down, or move the microphone away")
    return found


def _of_worker(worker: WorkerCheck) -> list[str]:
    found = []
    if worker.slower_than_real_time:
        found.append(
            f"the worker takes {worker.step_ms:.0f} ms for a frame of 80: it is too slow for this model, use another"
        )
    if worker.draining:
        found.append("the worker is being shut down: use another")
    elif not worker.free_slots:
        found.append("the worker is full: use another, or come back later")
    if worker.round_trip_ms > SLOW_NETWORK_MS:
        found.append(f"the network takes {worker.round_trip_ms:.0f} ms to the worker and back: use one that is nearer")
    elif worker.slowest_ms - worker.round_trip_ms > UNSTEADY_NETWORK_MS:
        found.append(
            f"the network is unsteady, {worker.round_trip_ms:.0f} to {worker.slowest_ms:.0f} ms: use a cable, not Wi-Fi"
        )
    return found
