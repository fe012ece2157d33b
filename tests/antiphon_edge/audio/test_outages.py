"""A device that goes away is opened again as soon as it is back; nobody has to start anything anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from antiphon_edge.audio import streams
from antiphon_edge.audio.changes import DeviceChange
from antiphon_edge.audio.digital_silence import SILENT_S
from antiphon_edge.audio.microphone import Microphone
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.audio.speaker import Speaker
from antiphon_edge.audio.stall import LOOK_S, STALL_S
from antiphon_edge.audio.streams import RETRY_S
from antiphon_edge.errors import AudioDeviceError
from tests.support.fake_device import FAKE, FakeDevice, FakeTime, install

RATE_HZ = 24_000
FRAME_SAMPLES = 1920
FRAME_S = FRAME_SAMPLES / RATE_HZ
SILENCE = np.zeros((FRAME_SAMPLES, 1), np.float32)
SOUND = np.full((FRAME_SAMPLES, 1), 0.25, np.float32)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    install(monkeypatch, device := FakeDevice())
    return device


@pytest.fixture
async def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    return FakeTime(monkeypatch)


async def until(time: FakeTime, true: Callable[[], object], meanwhile: Callable[[], object] = lambda: None) -> None:
    """Lets time pass, in which drivers' threads and a device may run, until `true` says so."""
    for _ in range(1000):
        if true():
            return
        meanwhile()
        await time.sleep_at_once(0.02)
        await asyncio.to_thread(lambda: None)
    raise AssertionError("it has not come in 20 s")


def opened(device: FakeDevice, count: int) -> bool:
    return device.opened == count


def tried(device: FakeDevice, before: int) -> bool:
    return len(device.choices) > before


async def hear(microphone: Microphone, frames: int) -> list[Pcm]:
    return [await anext(microphone) for _ in range(frames)]


def states(changes: list[DeviceChange]) -> list[str]:
    return [change.state for change in changes]


async def test_a_microphone_that_wakes_late_is_waited_for(device: FakeDevice, time: FakeTime) -> None:
    async with Microphone(RATE_HZ, FRAME_SAMPLES) as microphone:
        for _ in range(10):
            heard = asyncio.create_task(anext(microphone))
            await time.sleep_at_once(600)  # a laptop's lid
            await time.watch(0.5)
            assert not heard.done()
            device.record(SILENCE)
            assert len(await heard) == FRAME_SAMPLES
    assert (device.opened, device.closed) == (1, 1)


async def test_a_microphone_that_falls_silent_is_opened_again(device: FakeDevice, time: FakeTime) -> None:
    changes: list[DeviceChange] = []
    async with Microphone(RATE_HZ, FRAME_SAMPLES, on_change=changes.append) as microphone:
        for count in (2, 3):
            await time.watch(STALL_S - LOOK_S)
            assert not microphone.lost
            await until(time, partial(opened, device, count))
            await until(time, lambda: not microphone.lost, lambda: device.record(SOUND))
            assert np.all(await anext(microphone) == 0.25)
        assert microphone.outages == 2
    assert states(changes) == ["lost", "back"] * 2
    assert changes[0].reason == "it has sent no sound for 2 s"
    assert device.closed == device.opened == 3


async def test_a_microphone_that_is_unplugged_is_told_at_once_and_opened_when_it_is_back(
    device: FakeDevice, time: FakeTime
) -> None:
    changes: list[DeviceChange] = []
    async with Microphone(RATE_HZ, FRAME_SAMPLES, on_change=changes.append) as microphone:
        device.record(SOUND)
        await anext(microphone)
        device.unplug()
        await time.watch(2 * LOOK_S)
        assert states(changes) == ["lost"]
        for _ in range(100):  # an hour would be the same
            before = len(device.choices)
            await until(time, partial(tried, device, before))
        assert states(changes) == ["lost"]
        device.there = True
        await until(time, lambda: device.opened == 2)
        await until(time, lambda: not microphone.lost, lambda: device.record(SOUND))
    assert states(changes) == ["lost", "back"]
    assert changes[1].after_s > 100 * RETRY_S


async def test_while_the_microphone_is_lost_silence_comes_at_the_pace_of_frames(
    device: FakeDevice, time: FakeTime
) -> None:
    async with Microphone(RATE_HZ, FRAME_SAMPLES) as microphone:
        device.unplug()
        await until(time, lambda: microphone.lost)
        hearing = asyncio.create_task(hear(microphone, 100))
        await time.watch(99 * FRAME_S)
        assert not hearing.done()
        await time.watch(3 * FRAME_S)
        assert not np.any(await hearing)


async def test_a_device_that_was_chosen_by_its_index_is_opened_again_by_its_name(
    device: FakeDevice, time: FakeTime
) -> None:
    async with Microphone(RATE_HZ, FRAME_SAMPLES, 0):
        await until(time, lambda: device.opened == 2)
    assert device.choices[:2] == [0, FAKE.name]


async def test_the_default_device_stays_the_default(device: FakeDevice, time: FakeTime) -> None:
    async with Microphone(RATE_HZ, FRAME_SAMPLES):
        await until(time, lambda: device.opened == 2)
    assert device.choices[:2] == [None, None]


async def test_a_speaker_that_wakes_late_plays_on(device: FakeDevice, time: FakeTime) -> None:
    async with Speaker(RATE_HZ) as speaker:
        for _ in range(10):
            await time.sleep_at_once(600)
            for _ in range(6):
                speaker.write(SOUND[:, 0])
                await time.watch(0.08)
            device.play(6 * FRAME_SAMPLES)
            await time.settle()
    assert (device.opened, device.closed) == (1, 1)


async def test_a_speaker_that_is_unplugged_is_heard_again_when_it_is_back(device: FakeDevice, time: FakeTime) -> None:
    changes: list[DeviceChange] = []
    async with Speaker(RATE_HZ, on_change=changes.append) as speaker:
        for count in (2, 3):
            device.unplug()
            await until(time, lambda: speaker.lost)
            for _ in range(50):
                speaker.write(SOUND[:, 0])  # to nobody
            device.there = True
            await until(time, partial(opened, device, count))
            await until(time, lambda: not speaker.lost, lambda: device.play(480))
            assert np.abs(device.play(FRAME_SAMPLES)).max() == 0  # nothing old is played
            speaker.write(SOUND[:, 0])
            assert np.abs(device.play(4 * FRAME_SAMPLES)).max() > 0
        assert speaker.stats.dropped_samples == 0
    assert states(changes) == ["lost", "back"] * 2
    assert device.closed == device.opened == 3


async def test_nobody_waits_to_hear_the_end_from_a_speaker_that_is_lost(device: FakeDevice, time: FakeTime) -> None:
    async with Speaker(RATE_HZ) as speaker:
        device.unplug()
        await until(time, lambda: speaker.lost)
        speaker.write(SOUND[:, 0])
        drained = asyncio.create_task(speaker.drain())
        await time.watch(2 * LOOK_S)
        assert drained.done()


async def test_a_microphone_is_looked_for_anew_though_the_speaker_plays_on(
    monkeypatch: pytest.MonkeyPatch, time: FakeTime
) -> None:
    """PortAudio sees cards that have come only where none of its streams is open."""
    microphones, speakers = FakeDevice(), FakeDevice()
    closed_when_opened: list[bool] = []

    def open_either(direction: str, *arguments: object) -> FakeDevice:
        if direction == "output":
            return speakers.open(direction, *arguments)  # type: ignore[arg-type]
        closed_when_opened.append(speakers.closed == speakers.opened)
        return microphones.open(direction, *arguments)  # type: ignore[arg-type]

    install(monkeypatch, microphones)
    monkeypatch.setattr(streams, "open_stream", open_either)
    cards = ["0 [PCH]\n1 [USB]"]
    monkeypatch.setattr(streams, "sound_cards", lambda: cards[0])
    async with Speaker(RATE_HZ) as speaker, Microphone(RATE_HZ, FRAME_SAMPLES, "fake") as microphone:
        cards[0] = "0 [PCH]"
        microphones.unplug()
        await until(time, lambda: len(microphones.choices) == 4, lambda: speakers.play(480))
        assert closed_when_opened == [False, True, False, False]  # once for the card that has gone
        cards[0] = "0 [PCH]\n2 [USB]"
        microphones.there = True
        await until(time, lambda: microphones.opened == 2, lambda: speakers.play(480))
        assert closed_when_opened[-1]
        await until(time, lambda: speakers.opened == 3, lambda: speakers.play(480))

        def both() -> None:
            microphones.record(SOUND)
            speakers.play(480)

        await until(time, lambda: not microphone.lost, both)
        assert (microphone.outages, speaker.outages) == (1, 0)


async def test_a_microphone_that_sends_nothing_but_zeros_is_told_once(device: FakeDevice, time: FakeTime) -> None:
    changes: list[DeviceChange] = []
    async with Microphone(RATE_HZ, FRAME_SAMPLES, on_change=changes.append):
        for _ in range(3 * round(SILENT_S / FRAME_S)):
            device.record(SILENCE)
        await time.settle()
        assert states(changes) == ["silent"]
        device.record(SOUND)
        await time.settle()
    assert states(changes) == ["silent", "heard"]


async def test_a_device_that_is_not_there_at_first_is_an_error(device: FakeDevice) -> None:
    device.there = False
    with pytest.raises(AudioDeviceError, match="no such device"):
        async with Microphone(RATE_HZ, FRAME_SAMPLES):
            pass


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            DeviceChange("input", "lost", "USB", "it was disconnected"),
            "the microphone 'USB' is lost (it was disconnected): the model hears silence until it is back",
        ),
        (
            DeviceChange("output", "lost", "USB", "it was disconnected"),
            "the speaker 'USB' is lost (it was disconnected): nothing is heard until it is back",
        ),
        (DeviceChange("output", "back", "USB", after_s=3.21), "the speaker 'USB' is back after 3.2 s"),
        (DeviceChange("input", "moved", "PCH"), "the microphone is now 'PCH'"),
        (
            DeviceChange("input", "silent", "USB", after_s=10),
            "the microphone 'USB' has sent nothing but zeros for 10 s: is it muted, or its switch off?",
        ),
        (DeviceChange("input", "heard", "USB"), "the microphone 'USB' is heard again"),
    ],
)
def test_a_change_is_a_sentence(change: DeviceChange, sentence: str) -> None:
    assert str(change) == sentence
