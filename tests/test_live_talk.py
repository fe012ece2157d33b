"""A live conversation, microphone to speaker, by the command that a person runs."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.support.commands import environment, one_sentence, run, worker
from tests.support.ports import unused_address
from tests.support.terminal import terminal
from tools.harness.worker_process import BIN, Worker
from tools.talk.sound_server import SoundServer

SENTENCE = Path(__file__).parent / "sentence.wav"
LATE = r"((lost( in all)?:|replies (are|come)) .*\n|\n)*"  # what a machine that is busy with other things is told
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


@pytest.mark.parametrize("flag", ["--input-device", "--output-device"])
def test_a_device_that_is_not_there_is_one_sentence_before_a_worker_is_asked(
    sound: SoundServer, tiny_codec: Path, flag: str
) -> None:
    talked = run(
        "antiphon-edge", "talk", "--server", unused_address(), "--codec", tiny_codec, flag, "kazoo",
        **sound_environment(sound),
    )  # fmt: skip
    assert "kazoo" in one_sentence(talked)


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["event"] for event in events]


def test_programs_follow_a_conversation_as_lines_of_json(
    sound: SoundServer, served: Worker, tiny_codec: Path, tmp_path: Path
) -> None:
    lamp, notify = tmp_path / "lamp", tmp_path / "notify"
    command = [str(BIN / "antiphon-edge"), "talk", "--server", served.address, "--codec", str(tiny_codec)]
    command += ["--json-lines", "--muted", "--on-connected", f"tee -a {lamp}", "--output-device", "speaker48"]
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
        subprocess.Popen(
            command,
            env=sound_environment(sound) | {"NOTIFY_SOCKET": str(notify), "WATCHDOG_USEC": "30000000"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as talking,
    ):
        systemd.bind(str(notify))
        systemd.setblocking(False)
        assert talking.stdin is not None
        assert talking.stdout is not None
        seen = []
        for line in talking.stdout:
            seen.append(json.loads(line))
            match seen[-1]["event"]:
                case "status" if "muted" not in names(seen) and seen[-1]["frames_down"]:
                    talking.send_signal(signal.SIGUSR1)
                case "muted":
                    print("mute" if not seen[-1]["muted"] else "quit", file=talking.stdin, flush=True)
        assert talking.wait(60) == 0
        assert talking.stderr is not None
        assert re.fullmatch(LATE, talking.stderr.read())
        told = [systemd.recv(1024).decode() for _ in range(3)]
    assert {"WATCHDOG=1", "READY=1\nSTATUS=in conversation"} <= set(told)
    assert names(seen)[:2] == ["connected", "listening"]
    assert [event["muted"] for event in seen if event["event"] == "muted"] == [False, True]
    assert names(seen)[-1] == "ended"
    assert seen[-1]["frames_up"] >= seen[-1]["frames_down"] > 0
    assert {event["version"] for event in seen} == {1}
    assert json.loads(lamp.read_text())["address"] == served.address


def test_a_person_at_a_terminal_sees_a_screen_with_both_sides_and_has_keys(
    sound: SoundServer, served: Worker, golden: Path, tiny_codec: Path, tmp_path: Path
) -> None:
    samples, rate_hz = soundfile.read(SENTENCE, dtype="float32")
    with worker("--model", golden / "stt-tiny", "--codec", tiny_codec) as listening:
        command = [str(BIN / "antiphon-edge"), "talk", "--server", served.address, "--codec", str(tiny_codec)]
        command += ["--transcriber", listening.address, "--cache", str(tmp_path)]
        with terminal(command, sound_environment(sound)) as screen:
            at = screen.until("m mutes, q quits")
            sound.say("micbus", samples[: 4 * rate_hz], rate_hz)
            at = screen.until("you: ", at)  # what was said, in whole phrases above or as it comes below
            screen.type("m")
            at = screen.until("muted", at)
            screen.type(" ")
            at = screen.until("dB", at)
            listening.kill()
            at = screen.until("your words are not written down", at)
            at = screen.until("round trip", at)  # the conversation goes on
            screen.type("q")
            assert screen.end() == 0, screen.text
    assert "Traceback" not in screen.text


def test_setup_asks_a_person_at_a_terminal_tries_it_and_talk_takes_the_answers(
    sound: SoundServer, served: Worker, tmp_path: Path
) -> None:
    env = sound_environment(sound) | {"ANTIPHON_CONFIG": str(tmp_path / "edge.toml"), "ANTIPHON_CACHE": str(tmp_path)}
    echo = sound.control("load-module", "module-loopback", "source=speaker.monitor", "sink=micbus", "latency_msec=60")
    with terminal([str(BIN / "antiphon-edge"), "setup"], env) as asked:
        at = 0
        for question, answer in (
            ("Microphone, number or name [default]: ", ""),
            ("Speaker, number or name [default]: ", "kazoo"),
            ("Speaker, number or name [default]: ", "speaker"),
            ("Volume, 0 to 100 [100]: ", "70"),
            ("Try the sound? [Y/n]: ", ""),
            ("Did you hear the sentence, and then yourself? [Y/n]: ", "y"),
            ("Worker, HOST:PORT [localhost:50051]: ", served.address),
            ("API key (Enter for none): ", "hush"),
            ("Worker that writes down what you say [none]: ", ""),
        ):
            at = asked.until(question, at)
            asked.type(answer + "\n")
        assert asked.end() == 0
    sound.control("unload-module", echo)
    assert "the microphone heard the sentence at -" in asked.text
    assert "slots are free" in asked.text
    assert "hush" not in asked.text
    (settled,) = tmp_path.glob("*.toml")
    assert settled.stat().st_mode & 0o777 == 0o600
    talking = subprocess.Popen(
        [str(BIN / "antiphon-edge"), "talk", "--json-lines"], env=env, stdout=subprocess.PIPE, text=True
    )
    with talking:
        assert talking.stdout is not None
        listening = next(event for event in map(json.loads, talking.stdout) if event["event"] == "listening")
        talking.send_signal(signal.SIGINT)
        talking.communicate(timeout=120)
    assert talking.returncode == 0
    assert listening["speaker"] == "Null Output"


def test_devices_lists_what_talk_can_use(sound: SoundServer) -> None:
    listed = run("antiphon-edge", "devices", **sound_environment(sound))
    assert (listed.status, listed.err) == (0, "")
    assert "default" in listed.out
