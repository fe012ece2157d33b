"""`antiphon-edge speak`, and what it stands on, against a whole worker: a text in, the reference's sound out."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from antiphon.spec import GREEDY
from antiphon_edge import Codec, connect, pull_codec
from tests.support.commands import COMMAND_TIMEOUT_S, Finished, call, environment, one_sentence, worker
from tests.support.language_models import copy_model, expected
from tests.support.shared import made_once
from tests.support.sound_server import SoundServer
from tools.harness.worker_process import BIN, Worker

FRAME = 1920  # samples
AUDIBLE = 0.01  # of full scale


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker with the golden model that reads aloud, and its codec."""

    def make(folder: Path) -> None:
        copied = copy_model("tts-tiny", folder / "reader")
        assert call("antiphon-cloud", "export-codec", "--model", copied, "--codebooks", "12").status == 0

    with worker("--model", made_once(tmp_path_factory, "reading", make) / "reader") as started:
        yield started


def speak(server: str, text: str, *options: str | Path) -> Finished:
    """The command, with the text on its standard input."""
    command = [str(BIN / "antiphon-edge"), "speak", "--server", server, *map(str, options)]
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, env=environment(), check=False
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("name", ["one_voice", "dialogue"])
async def test_a_script_comes_back_as_the_references_codes(reader: Worker, name: str) -> None:
    case = json.loads((Path(__file__).parent / "golden/tts-tiny/expected.json").read_text())[name]
    codec = Codec.load(await pull_codec(reader.address))
    async with connect(
        reader.address,
        codec.spec,
        mode="speech",
        sampling=GREEDY,
        voice=case["voices"],
        conditions={"cfg": str(case["cfg"])},
    ) as session:
        for turn, line in enumerate(case["script"]):
            await session.say(line + " ", turn % 2)
        await session.finish_saying()
        rows, words, all_said = [], [], False
        while not all_said:
            await session.send()
            reply = await asyncio.wait_for(session.receive(), 60)
            assert reply is not None
            if reply.codes is not None:
                rows.append(reply.codes)
            if reply.said is not None:
                words.append(reply.said.text)
            all_said = reply.said_all
    silent = case["delay_steps"]  # frames before the first sound
    np.testing.assert_array_equal(rows, expected("tts-tiny")[f"{name}_frames"][silent:, 1:])
    assert [word for word in words if word] == [word for word, _ in case["transcript"]]


def test_the_command_writes_the_sound_and_each_word_with_its_time(reader: Worker, tmp_path: Path) -> None:
    said = speak(
        reader.address, "hello moshi listens", "--voice", "anna", "--words", "--output-wav", tmp_path / "o.wav"
    )
    assert said.status == 0, said
    times, words = zip(*(line.split() for line in said.out.splitlines()), strict=True)
    assert words == ("hello", "moshi", "listens")
    assert [float(time_s) for time_s in times] == sorted(float(time_s) for time_s in times)
    sound, rate = soundfile.read(tmp_path / "o.wav")
    assert rate == 24_000
    assert len(sound) % FRAME == 0
    assert len(sound) / rate > float(times[-1])


def test_a_text_is_read_aloud_through_the_loudspeaker(sound: SoundServer, reader: Worker) -> None:
    command = [str(BIN / "antiphon-edge"), "speak", "--server", reader.address, "--voice", "anna", "--words"]
    with sound.hear("speaker", 24_000) as heard:
        done = subprocess.run(
            command,
            input="hello moshi listens",
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            env=environment() | sound.child_env(),
            check=False,
        )
        played = np.fromfile(heard, np.float32)
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["hello", "moshi", "listens"]
    assert np.abs(played).max() > AUDIBLE


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (" \n ", (), "has no words: give some"),
        ("hello", ("--voice", "carl"), "voice.*carl.*anna"),
        ("hello", ("--cfg", "9"), "cfg.*9.0"),
    ],
    ids=["no words", "a voice that is not there", "a value that there is none of"],
)
def test_what_cannot_be_said_is_refused_in_a_sentence(
    reader: Worker, tmp_path: Path, text: str, options: tuple[str, ...], words: str
) -> None:
    said = speak(reader.address, text, *options, "--output-wav", tmp_path / "o.wav")
    assert re.search(words, one_sentence(said)), said.err
