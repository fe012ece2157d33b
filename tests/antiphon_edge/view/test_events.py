"""Events as programs read them, and as people do."""

from __future__ import annotations

import json

import pytest

from antiphon_edge.view import events
from antiphon_edge.view.losses import sentence, since
from antiphon_edge.view.plain_lines import line
from tools import ROOT


def test_an_event_is_a_line_of_json_with_its_version_its_time_and_its_name() -> None:
    data = events.as_json(events.Text(" zwölf", 7), 1.23456)
    assert data.endswith(b"\n")
    assert data.count(b"\n") == 1
    assert json.loads(data) == {"version": 1, "at_s": 1.235, "event": "text", "text": " zwölf", "sequence": 7}


def every_event() -> list[type[events.Event]]:
    return events.Event.__subclasses__()


@pytest.mark.parametrize("event", every_event(), ids=lambda event: event.__name__)
def test_the_page_has_every_event_with_its_fields(event: type[events.Event]) -> None:
    page = (ROOT / "docs/talk.md").read_text()
    rows = [row for row in page.splitlines() if row.startswith(f"| `{event.__name__.lower()}` |")]
    assert len(rows) == 1
    for field in event.__struct_fields__:
        assert f"`{field}`" in rows[0], field


def test_what_was_lost_since_is_a_difference() -> None:
    before = events.Lost(microphone_frames=2, late_replies=1)
    now = events.Lost(microphone_frames=5, late_replies=1, playout_underruns=3)
    assert since(before, now) == events.Lost(microphone_frames=3, playout_underruns=3)


def test_what_was_lost_is_a_sentence() -> None:
    assert sentence(events.Lost()) == ""
    lost = events.Lost(microphone_frames=1, playout_dropped_ms=240, late_replies=2)
    assert sentence(lost) == (
        "1 frame of the microphone dropped, 240 ms of the reply left out, 2 replies too late to be played"
    )


NOTHING_LOST = events.Ended(10, 9, 0, 0, 0, 0.16, events.Lost())


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (events.Listening("USB", "PCH"), "listening; Ctrl-C ends the conversation"),
        (events.Listening(None, "PCH"), None),
        (events.Text(" one", 3), None),
        (events.Status(-20.0, None, 90.0, 0.08, 4, 3, False), None),
        (events.Muted(True), "muted: the model does not hear you"),
        (events.Muted(False), "the model hears you"),
        (events.Device("input", "lost", "USB", "", 0.0, "the microphone is lost"), "the microphone is lost"),
        (events.Reconnecting("the worker went"), "reconnecting: the worker went"),
        (events.Resumed("a:1", 1.5), "the conversation goes on at a:1 after 1.5 s"),
        (events.Lost(unheard_frames=3), "lost: 3 frames never heard by the model"),
        (events.Slow(True, 8.0), "replies are 8.0 s late: the worker or the network is overloaded"),
        (events.Slow(False, 0.1), "replies come in time again"),
        (NOTHING_LOST, None),
        (
            events.Ended(10, 9, 0, 0, 0, 8.0, events.Lost(late_replies=1)),
            "lost in all: 1 reply too late to be played, replies up to 8.0 s late",
        ),
    ],
)
def test_a_person_reads_sentences(event: events.Event, expected: str | None) -> None:
    assert line(event) == expected
