"""What a session is given to say: how much of it waits, and what of it is being said. No network."""

from __future__ import annotations

from collections import deque

from antiphon.errors import ArgumentError, NotSupportedError, PreconditionError, ProtocolError
from antiphon.script_log import Given, ScriptLog
from antiphon.spec import ModelSpec
from antiphon.v1 import dialogue_pb2 as pb
from antiphon.words import LONGEST_WORD, Word, WordCutter
from antiphon_edge.client.events import SpokenWord

ENOUGH_WORDS = 4  # that wait: no model looks further ahead


class Speech:
    """The words that a session was given and has not begun; a `Journal` owns it.

    Args:
        log: keeps all that was given, for other workers.
        model: who says it.
        mode: of the session.
        frame_s: seconds of a frame.
    """

    def __init__(self, log: ScriptLog, model: ModelSpec, mode: pb.Mode, frame_s: float) -> None:
        self.log = log
        self._model = model
        self._frame_s = frame_s
        self._cutter = WordCutter(spoken=mode != pb.MODE_TEXT)
        self._words: deque[Word] = deque()  # complete, and not begun; bounded by what may wait
        self._waiting_bytes = 0  # of those
        self.said = 0
        """Characters that have begun."""
        self._unfinished = 0  # texts that were ended and are not all said
        self.waits_for_words = mode == pb.MODE_TEXT or model.user_codebooks == 0
        """Whether a frame is answered only once the words are known that its step may need."""

    @property
    def starved(self) -> bool:
        """Whether frames may be unanswered because the worker waits for words."""
        return self.waits_for_words and not self._unfinished and len(self._words) < ENOUGH_WORDS

    @property
    def speaker(self) -> int:
        """Whose turn it is."""
        return self._cutter.speaker

    @property
    def open(self) -> bool:
        """Whether a text was begun and not ended."""
        return self._cutter.has_words

    def has_room(self, text: str, limit_bytes: int) -> bool:
        """Whether `text` may wait too, where `limit_bytes` may."""
        return self._waiting_bytes + self._cutter.rest_bytes + len(text.encode()) <= limit_bytes

    def check(self, limit_bytes: int, speaker: int) -> None:
        """Returns where the model can be given words.

        Raises:
            PreconditionError: it only listens.
            NotSupportedError: its worker is too old.
            ArgumentError: it has no such speaker.
        """
        if not self._model.model_codebooks:
            raise PreconditionError(f"say: {self._model.name} only listens")
        if limit_bytes < 4 * LONGEST_WORD:
            raise NotSupportedError("say: this worker takes no words to say: it is of an older version")
        if not 0 <= speaker < max(1, self._model.speakers):
            raise ArgumentError(
                f"speaker: {speaker} is outside [0, {max(1, self._model.speakers)}), the model's speakers"
            )

    def add(self, text: str, speaker: int, frame: int, *, end: bool) -> None:
        """Adds to the text, or ends it.

        Args:
            text: for which there is room.
            speaker: whose turn it is.
            frame: the number of the next frame; a worker that waits for words knows these at once.
            end: the text is complete.

        Raises:
            ArgumentError: it cannot be said; nothing was added.
        """
        try:
            words = self._cutter.add(text, speaker, end=end)
        except ProtocolError as error:
            raise ArgumentError(str(error)) from None
        self._words.extend(words)
        self._waiting_bytes += sum(word.size_bytes for word in words)
        self._unfinished += end
        self.log.append(Given(text, speaker, end, 0 if self.waits_for_words else frame))

    def begin(self, said: int, step: int, first_step: int) -> SpokenWord | None:
        """The word that begins at a step; None where it is a pause, or the end of a text.

        Args:
            said: characters that have begun.
            step: when.
            first_step: of the session's history.

        Raises:
            ProtocolError: no word ends there.
        """
        self.log.begin(said, step, first_step)
        if said == self.said:
            return None
        if not self._words or self._words[0].end != said:
            raise ProtocolError(f"said: no word of what was given ends at {said}: open a new session")
        word = self._words.popleft()
        self._waiting_bytes -= word.size_bytes
        self.said = said
        return SpokenWord(word.text, step * self._frame_s, word.speaker) if word.text else None

    def finished(self) -> None:
        """A text was said to its end."""
        self._unfinished = max(0, self._unfinished - 1)
