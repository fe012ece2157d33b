"""A live conversation, microphone to speaker, by the command that a person runs."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import numpy as np
import soundfile

from tests.support.commands import environment, run, worker
from tests.support.sound_server import SoundServer
from worker_process import BIN

SENTENCE = Path(__file__).parent / "sentence.wav"
AUDIBLE = 0.01  # of full scale; the golden codec's noise is near 0.1


def sound_environment(sound: SoundServer) -> dict[str, str]:
    return environment() | sound.child_env()


def test_talk_hears_the_microphone_and_plays_the_reply(
    sound: SoundServer, golden: Path, tiny_codec: Path, tmp_path: Path
) -> None:
    with worker("--model", golden / "moshi-tiny", "--codec", tiny_codec) as served:
        command = [str(BIN / "antiphon-edge"), "talk", "--server", served.address, "--codec", str(tiny_codec)]
        with (
            sound.hear("speaker", 24_000) as heard,
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=sound_environment(sound),
            ) as talking,
        ):
            assert talking.stderr is not None
            assert talking.stderr.readline().startswith("listening")
            samples, rate_hz = soundfile.read(SENTENCE, dtype="float32")
            sound.say("micbus", samples[: 3 * rate_hz], rate_hz)
            talking.send_signal(signal.SIGINT)
            out, err = talking.communicate(timeout=30)
            reply = np.fromfile(heard, np.float32)
    assert (talking.returncode, err) == (0, "")
    assert len(out.strip()) > 5
    assert np.abs(reply).max() > AUDIBLE


def test_a_device_that_is_not_there_is_one_sentence(sound: SoundServer, golden: Path, tiny_codec: Path) -> None:
    with worker("--model", golden / "moshi-tiny", "--codec", tiny_codec) as served:
        talked = run(
            "antiphon-edge", "talk", "--server", served.address, "--codec", tiny_codec, "--input-device", "kazoo",
            **sound_environment(sound),
        )  # fmt: skip
    assert talked.status == 1
    assert talked.err.count("\n") == 1
    assert "kazoo" in talked.err


def test_devices_lists_what_talk_can_use(sound: SoundServer) -> None:
    listed = run("antiphon-edge", "devices", **sound_environment(sound))
    assert (listed.status, listed.err) == (0, "")
    assert "default" in listed.out
