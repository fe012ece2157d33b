"""Text from standard input: whose turn each line is, in whatever parts it comes."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from antiphon_edge.cli import text_input
from antiphon_edge.cli.text_input import standard_input, turns


async def test_an_end_of_line_that_comes_in_two_parts_ends_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.write(write, b"one\r\ntwo\r\nthree")
    os.close(write)
    monkeypatch.setattr(text_input, "READ_BYTES", 4)
    monkeypatch.setattr(text_input, "sys", SimpleNamespace(stdin=SimpleNamespace(fileno=lambda: read)))
    said = ["", ""]
    async for text, speaker in turns(standard_input(), 2):
        said[speaker] += text
    os.close(read)
    assert said == ["one\nthree", "two\n"]
