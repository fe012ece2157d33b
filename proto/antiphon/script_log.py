"""What a session was given to say, as its edge keeps it: any worker can go on with it from there.

The text stays from a word on that began within the session's history, so that a script of any length takes little room.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import groupby, islice

from antiphon.v1 import dialogue_pb2 as pb

KEPT_BEFORE = 64  # words that began before the history: their tokens may reach into it


@dataclass(slots=True)
class Given:
    """A part of a text."""

    text: str
    speaker: int
    end: bool
    frame: int  # the first frame whose step knows of it

    def to_message(self) -> pb.Say:
        """The message that says it."""
        return pb.Say(text=self.text, speaker=self.speaker, end=self.end)


class ScriptLog:
    """All that a session was given to say, and the steps at which words of it began."""

    def __init__(self) -> None:
        self._parts: deque[Given] = deque()
        self._left_out = 0  # parts that are not kept any more
        self._start = 0  # characters that are not kept any more
        self._begun: deque[tuple[int, int]] = deque()  # characters that had begun, and the step

    def __len__(self) -> int:
        return self._left_out + len(self._parts)

    def __getitem__(self, number: int) -> Given:
        """A part that is kept, by its number among all."""
        return self._parts[number - self._left_out]

    def append(self, part: Given) -> None:
        """Adds a part; its frame is not below that of the part before."""
        self._parts.append(part)

    def withdraw_frame(self, frame: int) -> None:
        """A frame that was never sent is dropped: those after it take its number, and so on."""
        for part in reversed(self._parts):
            if part.frame <= frame:
                return
            part.frame -= 1

    def begin(self, said: int, step: int, first_step: int) -> None:
        """A word began, or a text ended.

        Args:
            said: characters that have begun.
            step: when.
            first_step: of the session's history.
        """
        self._begun.append((said, step))
        while len(self._begun) > KEPT_BEFORE and self._begun[KEPT_BEFORE][1] < first_step:
            self._forget(self._begun.popleft()[0])

    def known(self, frame: int) -> int:
        """How many of the parts the step of `frame` knows."""
        later = 0
        for part in reversed(self._parts):
            if part.frame <= frame:
                break
            later += 1
        return len(self) - later

    def to_message(self, steps: int) -> pb.Script:
        """For `Open`, in a session that has taken so many steps."""
        known = self.known(steps) - self._left_out
        script = pb.Script(start=self._start)
        turns = groupby(islice(self._parts, known), lambda part: part.speaker)
        for speaker, parts in turns:  # each part by itself would take more room than its text, where it is a token
            texts: list[str] = []
            for part in parts:
                texts.append(part.text)
                if part.end:
                    script.says.add(text="".join(texts), speaker=speaker, end=True)
                    texts = []
            if texts:
                script.says.add(text="".join(texts), speaker=speaker)
        script.begun.extend(pb.BegunWord(said=said, step=step) for said, step in self._begun)
        return script

    def _forget(self, said: int) -> None:
        """Drops the text up to a word's end, or the end of a text after its last word."""
        if said == self._start and self._parts and not self._parts[0].text:
            self._drop_part()
        while self._parts and self._start < said:
            part = self._parts[0]
            cut = min(len(part.text), said - self._start)
            part.text = part.text[cut:]
            self._start += cut
            if part.text or (part.end and self._start == said):
                return
            self._drop_part()

    def _drop_part(self) -> None:
        self._parts.popleft()
        self._left_out += 1
