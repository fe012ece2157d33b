"""The picture of the screen, from the lines that `talk --json-lines` prints."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from antiphon_edge.view import events
from tools import ROOT
from tools.demo.screen import main

CONVERSATION = [
    events.Transcriber("connected", "b:1", ""),
    events.Connected("a:1", "clerk", "s", 1),
    events.Listening("USB", "PCH"),
    events.Word("three", 0.1),
    events.Said("three"),
    events.Text(" you said", 7),
    events.Status(-30.0, -6.0, 12.0, 0.08, 10, 9, False),
    events.Utterance("you said three"),
    events.Ended(10, 9, 0, 0, 0, 0.1, events.Lost()),
]


def picture(folder: Path, *options: str) -> str:
    lines = folder / "talk.jsonl"
    lines.write_bytes(b"".join(events.as_json(event, at_s) for at_s, event in enumerate(CONVERSATION)))
    drawn = CliRunner().invoke(main, [str(lines), str(folder / "screen.svg"), *options])
    assert drawn.exit_code == 0, drawn.output
    return (folder / "screen.svg").read_text().replace("&#160;", " ")


def test_it_shows_what_was_said_and_what_goes_on(tmp_path: Path) -> None:
    shown = picture(tmp_path)
    for words in ("you: three", "you said three", "-30 dB", "round trip 12 ms", "m mutes, q quits"):
        assert words in shown


def test_it_ends_where_it_is_told_to(tmp_path: Path) -> None:
    shown = picture(tmp_path, "--until", "5")
    assert "you said" in shown
    assert "round trip" not in shown


def test_the_page_has_one_that_loads_nothing_from_elsewhere() -> None:
    assert "docs/screen.svg" in (ROOT / "tools/demo/screen.py").read_text()
    assert "url(" not in (ROOT / "docs/screen.svg").read_text().replace("url(#", "")
