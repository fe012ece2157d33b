"""A live conversation, microphone to speaker, by the command that a person runs."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.commands import environment, one_sentence, run, worker
from tests.support.sound_server import SoundServer
from tools.harness.worker_process import BIN, Worker

SENTENCE = Path(__file__).parent / "sentence.wav"
LATE = (
    r"(\d+ frames? .* replies came too late .*\n)?"  # what a machine that is busy with other things is told at the end
)
AUDIBLE = 0.01  # of full scale; the golden codec's noise is near 0.1


@pytest.fixture(scope="module")
def served(golden: Path, tiny_codec: Path) -> Iterator[Worker]:
    with worker("--model", golden / "moshi-tiny", "--codec", tiny_codec) as started:
        yield started


def sound_environment(sound: SoundServer) -> dict[str, str]:
    return environment() | sound.child_env()


def test_talk_hears_the_microphone_and_plays_the_reply(sound: SoundServer, served: Worker, tiny_codec: Path) -> None:
    command = [str(BIN / "antiphon-edge"), "talk", "--server", served.address, "--codec", str(tiny_codec)]
    env = sound_environment(sound)
    with (
        sound.hear("speaker", 24_000) as heard,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as talking,
    ):
        assert talking.stderr is not None
        assert talking.stderr.readline().startswith("listening")
        samples, rate_hz = soundfile.read(SENTENCE, dtype="float32")
        sound.say("micbus", samples[: 3 * rate_hz], rate_hz)
        talking.send_signal(signal.SIGINT)
        out, err = talking.communicate(timeout=120)
        reply = np.fromfile(heard, np.float32)
    assert talking.returncode == 0, err
    assert re.fullmatch(LATE, err), err
    assert len(out.strip()) > 5
    assert np.abs(reply).max() > AUDIBLE


def test_a_device_that_is_not_there_is_one_sentence(sound: SoundServer, served: Worker, tiny_codec: Path) -> None:
    talked = run(
        "antiphon-edge", "talk", "--server", served.address, "--codec", tiny_codec, "--input-device", "kazoo",
        **sound_environment(sound),
    )  # fmt: skip
    assert "kazoo" in one_sentence(talked)


def test_devices_lists_what_talk_can_use(sound: SoundServer) -> None:
    listed = run("antiphon-edge", "devices", **sound_environment(sound))
    assert (listed.status, listed.err) == (0, "")
    assert "default" in listed.out
