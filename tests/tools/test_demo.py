"""The demo: what it prints is in the order of time, and files that it cannot use are told before anything is said."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from antiphon.errors import AntiphonError
from tests.support.commands import Finished, one_sentence
from tools import ROOT
from tools.demo.__main__ import PERSON, Transcript, same_length, words_of


def demo(folder: Path, *arguments: str | Path) -> Finished:
    """The demo, run in a folder."""
    command = [sys.executable, "-m", "tools.demo", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path))}
    finished = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return Finished(finished.returncode, finished.stdout, finished.stderr)


def test_both_sides_are_printed_in_the_order_of_time(capsys: pytest.CaptureFixture[str]) -> None:
    transcript = Transcript([(1.0, "one"), (1.05, "two"), (1.5, "three")])
    transcript.until(1.04)
    transcript.clerk(1.04, "you")
    transcript.until(1.12)
    transcript.clerk(1.12, "said")
    transcript.until(np.inf)
    assert capsys.readouterr().out.splitlines() == [
        "",
        "  1.0 s  person  one",
        "  1.0 s  model   you",
        "  1.1 s  person  two",
        "  1.1 s  model   said",
        "  1.5 s  person  three",
    ]


def test_the_shorter_side_is_filled_with_silence() -> None:
    said, replied = same_length(np.ones(2, np.float32), np.ones(4, np.float32))
    assert (said.tolist(), replied.tolist()) == ([1, 1, 0, 0], [1, 1, 1, 1])


def test_words_stand_beside_the_sound() -> None:
    assert words_of(PERSON)[:2] == [(1.8, "three"), (2.073, "seven")]


def test_sound_alone_has_no_words(tmp_path: Path) -> None:
    assert words_of(tmp_path / "alone.wav") == []


@pytest.mark.parametrize("content", ["", "no JSON", '{"name": "antiphon"}', "[1, 2]", '[[["one", 1.0, 2.0]]]'])
def test_another_json_file_beside_the_sound_is_one_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text(content)
    with pytest.raises(AntiphonError, match=r"in\.json: holds no turns of \[start_s, end_s, word\]; move it away"):
        words_of(tmp_path / "in.wav")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--picture", "no/such/folder/demo.png"], "no/such/folder/demo.png: cannot be written"),
        (["--picture", "demo.xyz"], "demo.xyz: is no name of a picture"),
        (["--output-wav", "no/such/folder/demo.wav"], "no/such/folder/demo.wav cannot be written"),
        (["--input-wav", "missing.wav"], "missing.wav cannot be read"),
        (["--input-wav", "in.flac", "--output-wav", "./in.flac"], "in.flac: is the input"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence_and_no_conversation(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    shutil.copy(PERSON, tmp_path / "in.flac")
    finished = demo(tmp_path, *arguments)
    assert words in one_sentence(finished)
    assert finished.out == ""
    assert (tmp_path / "in.flac").read_bytes() == PERSON.read_bytes()
    assert not (tmp_path / "demo.png").exists()
