"""What a program says of itself: an event is a sentence and its fields, in lines of text or of JSON."""

from __future__ import annotations

import json
import logging

import pytest

from antiphon.logs import TEXT, JsonFormatter, TextFormatter, event, name

LOGGER = logging.getLogger("antiphon.test")


@pytest.fixture
def record(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    caplog.set_level("INFO")
    event(LOGGER, logging.INFO, "session ended", client="the API key kitchen", frames=12, kept_s=0.5, status="OK")
    return caplog.records[-1]


def test_people_read_the_sentence_and_then_its_fields(record: logging.LogRecord) -> None:
    line = TextFormatter(TEXT).format(record)
    assert line.endswith(
        'INFO antiphon.test: session ended client="the API key kitchen" frames=12 kept_s=0.5 status=OK'
    )


def test_programs_read_the_fields_as_they_are(record: logging.LogRecord) -> None:
    line = json.loads(JsonFormatter().format(record))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "antiphon.test",
        "message": "session ended",
        "client": "the API key kitchen",
        "frames": 12,
        "kept_s": 0.5,
        "status": "OK",
    }


def test_the_name_of_a_server_is_in_each_of_its_lines(
    record: logging.LogRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antiphon.logs._name", "west-3")
    assert name() == "west-3"
    assert TextFormatter(TEXT).format(record).endswith(" status=OK name=west-3")
    assert json.loads(JsonFormatter().format(record))["name"] == "west-3"


def test_what_a_stranger_named_itself_makes_no_second_line(caplog: pytest.LogCaptureFixture) -> None:
    event(LOGGER, logging.WARNING, "call refused", client='x"\n2026-01-01 INFO forged: all is well')
    for formatter in (TextFormatter(TEXT), JsonFormatter()):
        assert "\n" not in formatter.format(caplog.records[-1])


def test_a_traceback_is_part_of_the_one_line_of_json(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("the fault")
    except ValueError:
        LOGGER.exception("a step failed")
    line = JsonFormatter().format(caplog.records[-1])
    assert "ValueError: the fault" in json.loads(line)["traceback"]
    assert "\n" not in line


def test_lines_name_the_place_that_spoke(record: logging.LogRecord) -> None:
    assert record.funcName == "record"
