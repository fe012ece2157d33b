"""Commands that run when something happens."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from antiphon.errors import ArgumentError
from antiphon_edge.view import events, hooks
from antiphon_edge.view.hooks import HOOKS, WAITING, Hooks, hook_of

SPEAKING, SILENT = events.Speaking(), events.Silent()


def note(path: Path, words: str = "os.environ['ANTIPHON_EVENT']") -> str:
    """A command that adds a line to a file."""
    return f"{sys.executable} -c \"import os, sys; print({words}, file=open({str(path)!r}, 'a'))\""


@pytest.mark.parametrize(
    ("event", "hook"),
    [
        (events.Connected("a:1", "clerk", "s", 1), "connected"),
        (events.Resumed("a:1", 1.0), "connected"),
        (events.Text(" one", 1), None),  # a command for each syllable would be too much for a small device
        (events.Utterance("one two"), "text"),
        (SPEAKING, "speaking"),
        (SILENT, "silent"),
        (events.Error("gone"), "error"),
        (events.Reconnecting("gone"), "error"),
        (events.Device("input", "lost", "USB", "", 0.0, ""), "error"),
        (events.Device("input", "back", "USB", "", 1.0, ""), None),
        (events.Muted(True), None),
    ],
)
def test_an_event_sets_off_a_hook(event: events.Event, hook: str | None) -> None:
    assert hook_of(event) == hook
    assert hook is None or hook in HOOKS


async def test_commands_run_in_the_order_of_their_events(tmp_path: Path) -> None:
    path = tmp_path / "lamp"
    async with Hooks({"speaking": note(path), "silent": note(path)}) as running:
        for event in (SPEAKING, SILENT, SPEAKING, events.Muted(True), SILENT):
            running.put(event)
    assert path.read_text().split() == ["speaking", "silent", "speaking", "silent"]


async def test_a_command_gets_the_event_and_its_text(tmp_path: Path) -> None:
    path = tmp_path / "said"
    async with Hooks({"text": note(path, "sys.stdin.read(), os.environ['ANTIPHON_TEXT']")}) as running:
        running.put(events.Utterance("grüß; rm -rf /"))
    line, text = path.read_text().strip().split("\n ")
    assert text == "grüß; rm -rf /"
    assert json.loads(line)["event"] == "utterance"


@pytest.mark.parametrize(
    ("command", "words"), [("/no/such/program", "cannot be started"), ("false", "failed with status 1")]
)
async def test_a_command_that_fails_is_told_once(command: str, words: str, caplog: pytest.LogCaptureFixture) -> None:
    async with Hooks({"speaking": command}) as running:
        running.put(SPEAKING)
        running.put(SPEAKING)
    assert len(caplog.records) == 1
    assert f"the command of --on-speaking {words}" in caplog.text


async def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(hooks, "LIMIT_S", 0.05)
    monkeypatch.setattr(hooks, "LEAVE_S", 60.0)
    async with Hooks({"speaking": "sleep 600"}) as running:
        running.put(SPEAKING)
    assert "was ended after 0 s" in caplog.text


async def test_the_end_does_not_wait_long_for_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "LEAVE_S", 0.05)
    async with Hooks({"speaking": "sleep 600"}) as running:
        running.put(SPEAKING)


async def test_where_events_come_faster_than_commands_run_the_oldest_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "count"
    async with Hooks({"text": note(path, "os.environ['ANTIPHON_TEXT']")}) as running:
        running._commands["text"][0:2] = ["tee", "-a"]  # faster than Python
        running._commands["text"][2:] = [str(path)]
        for number in range(WAITING + 5):
            running.put(events.Utterance(str(number)))
    assert [json.loads(line)["text"] for line in path.read_text().splitlines()] == [
        str(number) for number in range(5, WAITING + 5)
    ]


@pytest.mark.parametrize(("command", "words"), [("lamp 'on", "is no command"), (" ", "an empty command")])
def test_a_command_that_is_none_is_refused(command: str, words: str) -> None:
    with pytest.raises(ArgumentError, match=f"--on-text: .*{words}"):
        Hooks({"text": command})
