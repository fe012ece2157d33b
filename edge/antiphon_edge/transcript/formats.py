"""How a transcript is written: as text, as lines of JSON, or as subtitles, piece by piece as it becomes known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from antiphon_edge.transcript.cues import Cue, Cues
from antiphon_edge.transcript.words import Word


class Format(Protocol):
    """Turns what is heard into what is written."""

    def begin(self) -> str:
        """What stands before all else."""

    def add(self, words: Sequence[Word], *, pause: bool) -> str:
        """What `words`, of `Words.add` or `Words.end`, add; `pause`: the person has come to one before them."""

    def end(self) -> str:
        """What is left."""


class RunningText:
    """The words as they are written, a line from one pause to the next."""

    def __init__(self) -> None:
        self._begun = False  # the line

    def begin(self) -> str:
        """Nothing."""
        return ""

    def add(self, words: Sequence[Word], *, pause: bool) -> str:
        """Each word without waiting for its end."""
        text = ""
        if pause and self._begun:
            text, self._begun = "\n", False
        for word in words:
            if word.end_s is None:
                text += f" {word.text}" if self._begun else word.text
                self._begun = True
        return text

    def end(self) -> str:
        """The end of the last line."""
        return "\n" if self._begun else ""


class InCues:
    """Cues, written each as it is complete.

    Args:
        write: a cue as it is written, and its number from 1.
        head: what stands before all of them.
        single: each word is a cue of its own.
    """

    def __init__(self, write: Callable[[Cue, int], str], *, head: str = "", single: bool = False) -> None:
        self._write, self._head = write, head
        self._cues = Cues(single=single)
        self._written = 0

    def begin(self) -> str:
        """The head."""
        return self._head

    def add(self, words: Sequence[Word], *, pause: bool) -> str:
        """The cues that the words complete; a pause says nothing that the words' times do not."""
        return self._all(cue for word in words if word.end_s is not None for cue in self._cues.add(word))

    def end(self) -> str:
        """The last cue."""
        return self._all(self._cues.end())

    def _all(self, cues: Iterable[Cue]) -> str:
        text = ""
        for cue in cues:
            self._written += 1
            text += self._write(cue, self._written)
        return text


def timed_text(*, single: bool) -> Format:
    """Text; a `single` word a line with its start and end in seconds, or the words as they are written."""
    return InCues(_timed, single=True) if single else RunningText()


def json_lines(*, single: bool) -> Format:
    """An object a line: `text`, `start_s` and `end_s` of a `single` word, or of a cue and its `words`."""
    return InCues(_json_word if single else _json_cue, single=single)


def subrip(*, single: bool) -> Format:
    """SubRip; a cue may be a `single` word."""
    return InCues(_srt, single=single)


def webvtt(*, single: bool) -> Format:
    """WebVTT; a cue may be a `single` word."""
    return InCues(_vtt, head="WEBVTT\n\n", single=single)


def _timed(cue: Cue, number: int) -> str:
    word = cue.words[0]
    return f"{word.start_s:8.2f} {word.end_s:8.2f}  {word.text}\n"


def _json_word(cue: Cue, number: int) -> str:
    return json.dumps(_fields(cue.words[0]), ensure_ascii=False) + "\n"


def _json_cue(cue: Cue, number: int) -> str:
    whole = Word(cue.text, cue.start_s, cue.words[-1].end_s)
    line = _fields(whole) | {"words": [_fields(word) for word in cue.words]}
    return json.dumps(line, ensure_ascii=False) + "\n"


def _srt(cue: Cue, number: int) -> str:
    text = "\n".join(cue.lines)
    return f"{number}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n{text}\n\n"


def _vtt(cue: Cue, number: int) -> str:
    text = "\n".join(cue.lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n{text}\n\n"


def _fields(word: Word) -> dict[str, Any]:
    assert word.end_s is not None, "cues are made of whole words"
    return {"text": word.text, "start_s": round(word.start_s, 3), "end_s": round(word.end_s, 3)}


def _clock(seconds: float, point: str) -> str:
    """Hours, minutes, seconds and milliseconds."""
    whole, milliseconds = divmod(round(1000 * seconds), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{point}{milliseconds:03d}"
