"""What a model hears through a loudspeaker's microphone."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from antiphon.spec import CodecSpec
from antiphon_edge.audio.echo.processor import VoiceProcessing, VoiceProcessor
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.cli.room_options import Room
from antiphon_edge.errors import AudioDeviceError
from tests.support.echoes import FRAME, RATE_HZ, noise, room, softer_db

CANCEL_ONLY = VoiceProcessing(noise_suppression=False)
LATE = 224  # samples, by WebRTC's filter bank


def heard(mic: Pcm, far: Pcm, processing: VoiceProcessing = CANCEL_ONLY) -> Pcm:
    processor = VoiceProcessor(RATE_HZ, FRAME, processing)
    frames = zip(mic.reshape(-1, FRAME), far.reshape(-1, FRAME), strict=True)
    return np.concatenate([processor.process(near, played) for near, played in frames])


def test_the_echo_is_40_db_softer_while_nobody_speaks() -> None:
    far = noise(3.2, 1)
    echo = room(far)
    last = slice(2 * RATE_HZ, None)
    assert softer_db(echo[last], heard(echo, far)[last]) > 40


def test_an_echo_that_the_loudspeaker_has_distorted_is_20_db_softer() -> None:
    far = noise(3.2, 1)
    echo = room((np.tanh(4 * far) / 4).astype(np.float32))
    last = slice(2 * RATE_HZ, None)
    assert softer_db(echo[last], heard(echo, far)[last]) > 20


def test_a_person_who_interrupts_is_heard_as_without_an_echo() -> None:
    far, person = noise(4, 1), noise(4, 2)
    person[: 3 * RATE_HZ] = 0
    out = heard(room(far) + person, far)
    last = slice(-RATE_HZ // 2 // FRAME * FRAME, None)
    assert softer_db(person[last], out[last] - np.concatenate((np.zeros(LATE, np.float32), person))[:-LATE][last]) > 12


def test_without_a_far_end_a_person_is_as_loud_as_ever() -> None:
    person = noise(1.6, 3)
    out = heard(person, np.zeros_like(person))
    assert softer_db(person[FRAME:], out[FRAME:]) == pytest.approx(0, abs=0.5)


def test_noise_is_softer_than_it_was() -> None:
    still = np.random.default_rng(1).standard_normal(3 * RATE_HZ // FRAME * FRAME).astype(np.float32) * 0.003
    out = heard(still, np.zeros_like(still), VoiceProcessing(echo_cancellation=False))
    assert softer_db(still[-RATE_HZ:], out[-RATE_HZ:]) > 6


def test_nothing_is_done_where_nothing_is_asked_for() -> None:
    nothing = VoiceProcessing(echo_cancellation=False, noise_suppression=False)
    person = noise(0.8, 3)
    assert not nothing
    assert np.array_equal(heard(person, person, nothing), person)


@pytest.fixture
def without_webrtc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)


@pytest.mark.usefixtures("without_webrtc")
def test_without_the_package_the_error_says_how_to_get_it() -> None:
    with pytest.raises(AudioDeviceError, match=r"pip install 'antiphon\[audio\]', or use headphones"):
        VoiceProcessor(RATE_HZ, FRAME)


@pytest.mark.usefixtures("without_webrtc")
def test_without_the_package_a_talk_goes_on_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    there = Room(VoiceProcessing(), CodecSpec(b"", RATE_HZ, FRAME, 8, 2048))
    assert there.canceller is None
    assert "--headphones --no-ns" in capsys.readouterr().err
