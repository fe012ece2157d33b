"""How a transcript is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from antiphon_edge.transcript.formats import Format, json_lines, subrip, timed_text, webvtt
from antiphon_edge.transcript.words import Word

WORDS = [Word("Fish", 0.48, 0.8), Word("&", 0.8, 0.96), Word("<chips>.", 0.96, 3601.5)]


def written(form: Format, *, pause_before: str = "") -> str:
    """The words in `form`, each as it is known first and then with its end."""
    text = form.begin()
    for word in WORDS:
        text += form.add([replace(word, end_s=None)], pause=word.text == pause_before)
        text += form.add([word], pause=False)
    return text + form.end()


def test_text_is_written_word_by_word_and_a_pause_begins_a_line() -> None:
    assert written(timed_text(single=False)) == "Fish & <chips>.\n"
    assert written(timed_text(single=False), pause_before="&") == "Fish\n& <chips>.\n"
    running = timed_text(single=False)
    assert running.add([Word("Fish", 0.48)], pause=True) == "Fish"  # at once: its end is not awaited
    assert running.add([], pause=True) == "\n"
    assert running.end() == ""


def test_words_of_text_have_a_line_each() -> None:
    assert written(timed_text(single=True)).splitlines() == [
        "    0.48     0.80  Fish",
        "    0.80     0.96  &",
        "    0.96  3601.50  <chips>.",
    ]


def test_json_is_an_object_a_line() -> None:
    words = [{"text": word.text, "start_s": word.start_s, "end_s": word.end_s} for word in WORDS]
    assert [json.loads(line) for line in written(json_lines(single=True)).splitlines()] == words
    (line,) = written(json_lines(single=False)).splitlines()
    assert json.loads(line) == {"text": "Fish & <chips>.", "start_s": 0.48, "end_s": 3601.5, "words": words}


def test_subrip_counts_its_cues() -> None:
    assert written(subrip(single=False)) == "1\n00:00:00,480 --> 00:00:01,960\nFish & <chips>.\n\n"
    assert written(subrip(single=True)).startswith("1\n00:00:00,480 --> 00:00:00,800\nFish\n\n2\n00:00:00,800 -->")


def test_webvtt_escapes_what_would_be_markup() -> None:
    assert written(webvtt(single=False)) == ("WEBVTT\n\n00:00:00.480 --> 00:00:01.960\nFish &amp; &lt;chips&gt;.\n\n")


def test_nothing_heard_is_an_empty_file_of_the_format() -> None:
    forms: list[tuple[Callable[..., Format], str]] = [
        (timed_text, ""),
        (json_lines, ""),
        (subrip, ""),
        (webvtt, "WEBVTT\n\n"),
    ]
    for form, empty in forms:
        nothing = form(single=False)
        assert nothing.begin() + nothing.add([], pause=False) + nothing.end() == empty


def test_a_clock_has_hours() -> None:
    form = subrip(single=False)
    form.add([Word("late", 3661.25, 3662.0)], pause=False)
    assert "01:01:01,250 --> 01:01:02,083" in form.end()
