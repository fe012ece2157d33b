"""What a sound server does to us amid a conversation, by a real one: a private PulseAudio with null sinks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from antiphon_edge.audio.stall import STALL_S
from tests.support.sound_server import SoundServer, sound_server
from tools import ROOT

PROGRAM = ROOT / "tests/support/live_audio.py"
NET_S = 30.0
LOUD = 0.1  # of full scale; the program plays a tone of 0.5


@pytest.fixture
def server(sound: SoundServer) -> Iterator[SoundServer]:
    """One of our own, to be maltreated; `sound` says whether it can be had."""
    with sound_server() as running:
        yield running


class Watching:
    """The program that holds both devices, and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[dict[str, Any]] = []
        self.came_s: list[float] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.came_s.append(time.monotonic())
            self.said.append(json.loads(line))

    def changes(self) -> set[tuple[str, str]]:
        return {(item["direction"], item["state"]) for item in self.said if "state" in item}

    def loudness(self, since: int) -> list[float]:
        return [item["peak"] for item in self.said[since:] if "peak" in item]

    def until(self, true: Callable[[], object]) -> None:
        deadline = time.monotonic() + NET_S
        while not true():
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def until_told(self, *changes: tuple[str, str]) -> None:
        self.until(lambda: set(changes) <= self.changes())

    def end(self) -> dict[str, Any]:
        """The last thing that it says; nothing may be on standard error, where drivers make their noise."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(NET_S) == 0
        assert self.process.stderr is not None
        assert self.process.stderr.read() == ""
        self.until(lambda: "outages" in self.said[-1])
        return self.said[-1]


@contextmanager
def watching(server: SoundServer, *arguments: str) -> Iterator[Watching]:
    command = [sys.executable, "-W", "error", str(PROGRAM), "watch", *arguments]
    with subprocess.Popen(
        command, env=server.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield Watching(process)
        finally:
            process.kill()


def test_a_microphone_that_is_unplugged_does_not_become_the_speakers_monitor(server: SoundServer) -> None:
    for module in server.modules("source_name=mic16"):
        server.control("unload-module", module)  # or the sound server would go on with that one
    with watching(server) as program:
        program.until(lambda: program.loudness(0))
        for module in server.modules("source_name=mic"):
            server.control("unload-module", module)
        program.until_told(("input", "lost"))
        program.until(lambda: program.loudness(0)[-2:] == [0.0, 0.0])
        since = len(program.said)
        program.until(lambda: len(program.loudness(since)) == 3)
        assert max(program.loudness(since)) == 0.0  # though the speaker plays
        server.control("load-module", "module-remap-source", "master=micbus.monitor", "source_name=mic")
        server.control("set-default-source", "mic")
        program.until_told(("input", "back"))
        assert program.end()["outages"] == [1, 0]


def test_a_sound_server_that_is_started_again_is_found(server: SoundServer) -> None:
    with watching(server) as program:
        program.until(lambda: program.loudness(0))
        server.stop()
        stopped_s = time.monotonic()
        program.until_told(("input", "lost"), ("output", "lost"))
        assert time.monotonic() - stopped_s < STALL_S  # the driver says so, nobody has to wait for silence
        server.start()
        program.until_told(("input", "back"), ("output", "back"))
        assert program.end()["outages"] == [1, 1]


def test_a_speaker_that_is_suspended_plays_on_when_it_is_resumed(server: SoundServer) -> None:
    with watching(server) as program:
        program.until(lambda: program.loudness(0))
        server.control("suspend-sink", "speaker", "1")
        program.until_told(("output", "lost"))
        assert ("input", "lost") not in program.changes()
        server.control("suspend-sink", "speaker", "0")
        program.until_told(("output", "back"))
        assert program.end()["outages"] == [0, 1]


def test_a_program_that_is_stopped_for_5_s_goes_on_at_once_and_does_not_lag(server: SoundServer) -> None:
    with watching(server) as program:
        program.until(lambda: program.loudness(0))
        program.process.send_signal(signal.SIGSTOP)
        time.sleep(5)
        before = len(program.said)
        program.process.send_signal(signal.SIGCONT)
        resumed_s = time.monotonic()
        program.until(lambda: len(program.loudness(before)) >= 6)
        assert program.came_s[before] - resumed_s < 2
        ended = program.end()
    assert ended["outages"] == [0, 0]
    assert ended["waiting_ms"] <= 400


def test_a_machine_without_a_microphone_is_told_so_though_the_speaker_has_a_monitor(server: SoundServer) -> None:
    for module in server.modules("module-remap-source"):
        server.control("unload-module", module)
    server.control("set-default-source", "speaker.monitor")
    command = [sys.executable, "-W", "error", str(PROGRAM), "watch"]
    run = subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=NET_S, check=True)
    assert run.stderr == ""
    assert json.loads(run.stdout)["error"].startswith("this machine has no microphone: the sound server gives")


def test_a_device_of_the_sound_servers_is_chosen_by_its_name(server: SoundServer) -> None:
    with watching(server, "mic16") as program:
        outputs = json.loads(server.control("--format=json", "list", "source-outputs"))
        sources = json.loads(server.control("--format=json", "list", "sources"))
        names = {source["index"]: source["name"] for source in sources}
        ours = [output for output in outputs if output["properties"].get("application.process.id")]
        assert [names[output["source"]] for output in ours] == ["mic16"]
        assert program.end()["device"] == "mic16"
