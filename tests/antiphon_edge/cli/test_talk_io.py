"""Where the sound of `talk` comes from, and where the reply goes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from antiphon.cli.output_file import OutputFileError
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.cli.talk_io import transcript, until_interrupted


async def endless(frames: int) -> AsyncIterator[Pcm]:
    """So many frames, and then a source that brings nothing."""
    for number in range(frames):
        yield np.full(4, number, np.float32)
    await asyncio.Event().wait()


async def test_ctrl_c_ends_the_frames_though_no_more_of_them_come() -> None:
    heard = []
    async for frame in until_interrupted(endless(3)):
        heard.append(int(frame[0]))
        if len(heard) == 3:
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
    assert heard == [0, 1, 2]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


async def test_without_ctrl_c_the_frames_end_where_they_end() -> None:
    async def three() -> AsyncIterator[Pcm]:
        for number in range(3):
            yield np.full(4, number, np.float32)

    assert [int(frame[0]) async for frame in until_interrupted(three())] == [0, 1, 2]


def test_text_is_in_the_file_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "said.txt"
    with transcript(path) as write:
        write(" caf")
        write("é")
        assert path.read_text("utf-8") == " café"
    assert path.read_text("utf-8") == " café\n"


@pytest.mark.parametrize("path", [None, Path("-")])
def test_text_goes_to_standard_output(path: Path | None, capsys: pytest.CaptureFixture[str]) -> None:
    with transcript(path) as write:
        write(" hello")
    assert capsys.readouterr().out == " hello\n"


@pytest.mark.parametrize("name", ["missing/said.txt", "."])
def test_a_text_file_that_cannot_be_written_is_explained(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputFileError, match="cannot be written"), transcript(tmp_path / name):
        pass


def test_what_else_goes_wrong_meanwhile_is_not_the_files_fault(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), transcript(tmp_path / "said.txt"):
        raise ConnectionResetError


def test_a_full_disk_is_told() -> None:
    with pytest.raises(OutputFileError, match="/dev/full: cannot be written"), transcript(Path("/dev/full")) as write:
        write("hello")
