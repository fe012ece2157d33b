"""antiphon-edge setup: what it asks, what it tries, and what it writes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from antiphon_edge.audio.devices import AudioDevice
from antiphon_edge.cli import questions
from antiphon_edge.cli.commands import commands
from antiphon_edge.doctor.spoken_test import SpokenTest
from antiphon_edge.doctor.worker import WorkerCheck
from antiphon_edge.errors import AudioDeviceError
from antiphon_edge.transport.credentials import Credentials

DEVICES = [
    AudioDevice(0, "USB Audio: - (hw:1,0)", 1, 2, 48_000, False, False),
    AudioDevice(1, "HDMI", 0, 2, 48_000, False, True),
    AudioDevice(2, "Twin", 1, 0, 48_000, True, False),
    AudioDevice(3, "Twin", 1, 0, 48_000, False, False),
]


class World:
    """A person at a terminal, who answers line by line, with devices and workers that the test makes up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.devices = DEVICES
        self.workers: dict[str, str | None] = {}
        self.asked: list[tuple[str, Credentials]] = []
        self.tries: list[tuple[str | None, str | None, float]] = []

    def list_devices(self) -> list[AudioDevice]:
        if not self.devices:
            raise AudioDeviceError("PortAudio is not here")
        return self.devices

    async def check_worker(self, address: str, credentials: Credentials) -> WorkerCheck:
        self.asked.append((address, credentials))
        return WorkerCheck(address, self.workers.get(address), "clerk", 12.0, 14.0, 3.0, 2)

    async def try_sound(self, microphone: str | None, speaker: str | None, volume: float, on_answer: Any) -> SpokenTest:
        self.tries.append((microphone, speaker, volume))
        on_answer()
        return SpokenTest("mic", "spk", -30.0, -20.0)

    def setup(self, *arguments: str, says: str = "", **variables: str) -> Result:
        return CliRunner().invoke(
            commands, ["--config", str(self.path), "setup", *arguments], input=says, env=variables
        )

    @property
    def written(self) -> dict[str, Any]:
        return tomllib.loads(self.path.read_text())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path / "edge.toml")
    for name in ("list_devices", "check_worker", "try_sound"):
        monkeypatch.setattr(questions, name, getattr(made, name))
    return made


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon_edge.cli.setup._is_terminal", lambda: True)


def lines(*answers: str) -> str:
    return "".join(f"{answer}\n" for answer in answers)


def test_without_a_terminal_nothing_is_asked_and_flags_are_written(world: World) -> None:
    world.path.write_text('volume = 30\n[talk]\non-speaking = "lamp"\n')
    done = world.setup("--server", "worker.example:1", "--tls", "--input-device", "USB", ANTIPHON_API_KEY="hush")
    assert (done.exit_code, world.asked, world.tries) == (0, [], [])
    assert world.written == {
        "volume": 30,
        "server": "worker.example:1",
        "tls": True,
        "input-device": "USB",
        "api-key": "hush",
        "talk": {"on-speaking": "lamp"},
    }
    assert "hush" not in done.output


def test_another_worker_does_not_get_the_key_of_the_last_one(world: World) -> None:
    world.path.write_text('server = "localhost:1"\napi-key = "hush"\n')
    world.path.chmod(0o600)
    world.setup("--server", "localhost:1", "--volume", "5")
    assert world.written == {"server": "localhost:1", "api-key": "hush", "volume": 5}
    world.setup("--server", "localhost:2")
    assert world.written == {"server": "localhost:2", "volume": 5}


@pytest.mark.usefixtures("at_terminal")
def test_a_worker_that_flags_name_and_that_does_not_answer_is_told_once(world: World, tmp_path: Path) -> None:
    world.workers = {"localhost:1": "no worker answers: it may ask for TLS (`tls`)"}
    (tmp_path / "key").write_text("hush\n")
    done = world.setup(
        "--server", "localhost:1", "--api-key-file", str(tmp_path / "key"), "--no-sound", says=lines("", "", "", "")
    )
    assert done.exit_code == 0, done.output
    assert done.output.count("it may ask for TLS (--tls)") == 1
    assert world.written["api-key"] == "hush"


@pytest.mark.usefixtures("at_terminal")
def test_enter_alone_keeps_every_default(world: World) -> None:
    done = world.setup(says=lines("", "", "", "n", "", "", ""))
    assert done.exit_code == 0, done.output
    assert world.written == {"volume": 100, "server": "localhost:50051"}
    assert "clerk answers in 12 ms; 2 slots are free" in done.output


@pytest.mark.usefixtures("at_terminal")
def test_answers_are_tried_and_written(world: World) -> None:
    answers = ("0", "hdmi", "40", "y", "", "worker.example:1", "", "hush", "worker.example:2")
    done = world.setup(says=lines(*answers))
    assert done.exit_code == 0, done.output
    assert world.tries == [("USB Audio: - (hw:1,0)", "HDMI", 40.0)]
    assert "the microphone heard you at -20 dBFS" in done.output
    ((address, credentials),) = world.asked
    assert (address, credentials.tls, credentials.insecure, credentials.api_key) == (
        "worker.example:1", True, False, "hush",
    )  # fmt: skip
    assert world.written == {
        "input-device": "USB Audio: - (hw:1,0)",
        "output-device": "HDMI",
        "volume": 40,
        "server": "worker.example:1",
        "tls": True,
        "api-key": "hush",
        "transcriber": "worker.example:2",
    }
    assert world.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("at_terminal")
def test_another_run_begins_with_the_answers_of_the_last_one(world: World) -> None:
    world.path.write_text('# mine\nserver = "localhost:7"\nvolume = 40\napi-key = "hush"\noutput-device = "HDMI"\n')
    world.path.chmod(0o600)
    before = world.path.read_text()
    done = world.setup(says=lines("", "", "", "n", "", "", ""))
    assert done.exit_code == 0, done.output
    assert world.path.read_text() == before
    assert world.asked[0][1].api_key == "hush"


@pytest.mark.usefixtures("at_terminal")
def test_what_was_settled_can_be_given_up(world: World) -> None:
    world.path.write_text('api-key = "hush"\noutput-device = "HDMI"\ntranscriber = "localhost:2"\ninsecure = true\n')
    done = world.setup(says=lines("", "default", "", "n", "", "none", "none"))
    assert done.exit_code == 0, done.output
    assert world.written == {"volume": 100, "server": "localhost:50051", "insecure": True}


@pytest.mark.usefixtures("at_terminal")
def test_what_a_flag_says_is_not_asked(world: World) -> None:
    done = world.setup(
        "--server", "localhost:1", "--input-device", "USB", "--output-device", "HDMI", "--volume", "5", "--no-sound",
        says=lines("", ""),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Worker, HOST:PORT" not in done.output
    assert world.written["server"] == "localhost:1"


@pytest.mark.usefixtures("at_terminal")
def test_a_wrong_answer_is_told_and_asked_for_again(world: World) -> None:
    answers = ("kazoo", "1", "2", "", "x", "101", "7", "n", "worker", "localhost:1", "two words", "", "x", "")
    done = world.setup(says=lines(*answers))
    assert done.exit_code == 0, done.output
    for words in (
        "there is no microphone 'kazoo'",
        "there is no microphone '1'",
        "'x' is not a valid float",
        "101.0 is not in the range",
        "'worker' is no HOST:PORT",
        "holds more than one API key",
        "'x' is no HOST:PORT",
    ):
        assert words in done.output
    assert "two words" not in done.output
    assert world.written == {"input-device": "2", "volume": 7, "server": "localhost:1"}  # two are called Twin


@pytest.mark.usefixtures("at_terminal")
def test_a_worker_that_does_not_answer_can_be_answered_again_or_kept(world: World) -> None:
    world.workers = {"localhost:1": "no worker answers", "localhost:2": "it does not know the API key"}
    done = world.setup(says=lines("", "", "", "n", "localhost:1", "", "y", "localhost:2", "", "n", ""))
    assert done.exit_code == 0, done.output
    assert "no worker answers" in done.output
    assert world.written["server"] == "localhost:2"


@pytest.mark.usefixtures("at_terminal")
def test_plaintext_to_another_machine_is_the_persons_own_word(world: World) -> None:
    world.setup(says=lines("", "", "", "n", "worker.example:1", "n", "", ""))
    assert world.written["insecure"] is True
    assert "tls" not in world.written


@pytest.mark.usefixtures("at_terminal")
def test_sound_that_was_not_heard_is_tried_with_other_devices(world: World) -> None:
    done = world.setup(says=lines("2", "", "", "y", "n", "0", "", "", "y", "y", "", "", ""))
    assert done.exit_code == 0, done.output
    assert [microphone for microphone, _, _ in world.tries] == ["2", "USB Audio: - (hw:1,0)"]


@pytest.mark.usefixtures("at_terminal")
def test_without_portaudio_the_rest_is_asked(world: World) -> None:
    world.devices = []
    done = world.setup(says=lines("", "", ""))
    assert done.exit_code == 0, done.output
    assert "PortAudio is not here; run setup again when that is mended" in done.output


@pytest.mark.usefixtures("at_terminal")
def test_a_person_who_leaves_amid_it_changes_nothing(world: World) -> None:
    assert world.setup(says=lines("", "")).exit_code == 1
    assert not world.path.exists()


@pytest.mark.parametrize(
    ("sentence_dbfs", "person_dbfs", "words"),
    [
        (None, None, "sends nothing but zeros"),
        (-30.0, None, "it heard nothing of you"),
        (-30.0, -20.0, "heard you at -20 dBFS"),
        (-30.0, -0.1, "you are too loud"),
        (-50.0, -45.0, "it hears little of you"),
        (-10.0, -20.0, "hears the speaker louder than you"),
    ],
)
def test_the_spoken_test_says_what_it_found(sentence_dbfs: float | None, person_dbfs: float | None, words: str) -> None:
    assert words in "; ".join(SpokenTest("mic", "spk", sentence_dbfs, person_dbfs).findings())
