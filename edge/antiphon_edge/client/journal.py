"""What a session said and what was answered: the part of it that outlives its streams. No network.

Frames wait here until they are answered, replies until they are taken, and the tokens of both make the history.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from antiphon.errors import AntiphonError, ProtocolError, SequenceError
from antiphon.history import History, fewest_steps
from antiphon.plain_text import plain_text
from antiphon.spec import Limits, ModelSpec
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.client.events import Reply, SpokenWord, Totals
from antiphon_edge.client.speech import Speech


@dataclass(frozen=True, slots=True)
class _Frame:
    codes: bytes
    appended_s: float


class Journal:
    """A session's frames and replies, in order; its `Carrier` owns it, its streams read frames and add replies.

    Args:
        model: whose tokens they are.
        limits: of the worker that the session began on.
        backlog: frames that `append_live` keeps while no stream takes them.
        mode: of the session.
        frame_s: seconds of a frame.
    """

    def __init__(
        self, model: ModelSpec, limits: Limits, backlog: int, mode: pb.Mode = pb.MODE_UNSPECIFIED, frame_s: float = 0.08
    ) -> None:
        speaker, model = model, model.in_writing() if mode == pb.MODE_TEXT else model
        self.history = History(model, max(limits.history_steps, fewest_steps(model)))
        self.speech = Speech(self.history.script, speaker, mode, frame_s)
        self.say_bytes = limits.say_bytes
        self.user_packer = model.user_packer
        self.max_in_flight = limits.max_frames_in_flight
        self.dropped_frames = 0
        """Live frames that were never sent."""
        self.ending = False
        """No more frames will come."""
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once no more frames will come and all are answered: only the totals may be missing."""
        self.totals: Totals | None = None
        self.failure: AntiphonError | None = None
        self._model = model
        self._packer = model.model_packer
        self._backlog = backlog
        self._frames: deque[_Frame] = deque()  # unanswered, from number history.steps on; bounded by `wait_for_room`
        self._sent = 0  # frames below this number have been on their way at least once
        self._replies: deque[Reply] = deque()  # not taken yet; bounded as the frames
        self._room = asyncio.Event()  # a reply was taken, or the session ended
        self._news = asyncio.Event()  # a reply came, or the session ended
        self._said = asyncio.Event()  # a word has begun, or the session ended

    @property
    def in_flight(self) -> int:
        """Frames appended whose replies were not taken yet."""
        return len(self._frames) + len(self._replies)

    @property
    def next_number(self) -> int:
        """The number of the next frame."""
        return self.history.steps + len(self._frames)

    def finish(self) -> None:
        """No more frames will come.

        Raises:
            AntiphonError: the session has ended; the error says why.
        """
        if self.failure is not None:
            raise self.failure
        self.ending = True
        self._check_finished()

    @property
    def all_answered(self) -> bool:
        """Whether every frame has its reply."""
        return not self._frames

    def check_open(self) -> None:
        """Returns where frames may be appended.

        Raises:
            AntiphonError: the session has ended, or will.
        """
        if self.failure is not None:
            raise self.failure
        if self.ending:
            raise SequenceError("send after end: open a new session")

    async def wait_for_room(self) -> None:
        """Waits until one more frame may be in flight; errors as in `check_open`."""
        self.check_open()
        while self.in_flight >= self.max_in_flight:
            self._room.clear()
            await self._room.wait()
            self.check_open()

    async def say(self, text: str, speaker: int, *, end: bool = False) -> None:
        """Adds to what is to be said, once there is room for it; errors as in `check_open` and `Speech`."""
        self.check_open()
        self.speech.check(self.say_bytes, speaker)
        while not self.speech.has_room(text, self.say_bytes):
            self._said.clear()
            await self._said.wait()
            self.check_open()
        self.speech.add(text, speaker, self.next_number, end=end)

    def append(self, packed: bytes) -> int:
        """Adds a frame of packed user codes and returns its number."""
        self._frames.append(_Frame(packed, time.perf_counter()))
        return self.next_number - 1

    def append_live(self, packed: bytes) -> None:
        """Adds a frame; drops the oldest that was never sent where `backlog` frames wait to be sent."""
        if self.next_number - self._sent >= self._backlog:
            del self._frames[self._sent - self.history.steps]  # what was sent once is sent again: the worker knows it
            self.history.script.withdraw_frame(self._sent)
            self.dropped_frames += 1
        self.append(packed)

    def send(self, number: int) -> bytes:
        """The packed codes of a frame that goes out on some stream, perhaps not for the first time."""
        self._sent = max(self._sent, number + 1)
        answered = self.history.steps - number  # steps since, where another stream has had it answered
        return self.history.user_codes(number) if answered > 0 else self._frames[-answered].codes

    def answer(self, message: pb.ConverseResponse) -> None:
        """Takes the reply to the first frame that is unanswered."""
        frame = self._frames.popleft()
        all_begun = message.HasField("said") and message.said == self.speech.said
        said = self._begin_word(message)
        # uvloop's clock counts whole milliseconds
        reply = self._reply(message, time.perf_counter() - frame.appended_s, said, all_begun)
        self.history.append(frame.codes, reply.text_token, b"" if reply.codes is None else message.codes)
        self._replies.append(reply)
        self._news.set()
        self._check_finished()

    async def next_reply(self) -> Reply | None:
        """The next reply; None after the last one, when `totals` is known.

        Raises:
            AntiphonError: the session has ended; the error says why.
        """
        while not self._replies:
            if self.failure is not None:
                raise self.failure
            if self.totals is not None:
                return None
            self._news.clear()
            await self._news.wait()
        self._room.set()
        return self._replies.popleft()

    def close(self, totals: Totals) -> None:
        """The session has ended well."""
        self.totals = totals
        self._news.set()

    def fail(self, error: AntiphonError) -> None:
        """The session has ended: from now on every call raises the error. The first reason stays."""
        self.failure = self.failure or error
        self._said.set()
        self._news.set()
        self._room.set()

    def abandon(self, error: AntiphonError) -> None:
        """The owner leaves: replies that were not taken are dropped."""
        self.ending = True
        self._replies.clear()
        self.fail(error)

    def _check_finished(self) -> None:
        if self.ending and self.all_answered and not self.finished.done():
            self.finished.set_result(None)

    def _begin_word(self, message: pb.ConverseResponse) -> SpokenWord | None:
        """The word that begins with a reply."""
        steps = self.history.steps
        word = None
        if message.HasField("said"):
            word = self.speech.begin(message.said, steps, steps - len(self.history))
            self._said.set()
        if message.said_all:
            self.speech.finished()
        return word

    def _reply(
        self, message: pb.ConverseResponse, round_trip_s: float, said: SpokenWord | None, all_begun: bool
    ) -> Reply:
        sequence = self.history.steps
        if sequence < self._model.delay_steps:
            return Reply(sequence, None, None, "", round_trip_s, said, all_begun, message.said_all)
        if message.text_token >= self._model.text_cardinality:
            raise ProtocolError(
                f"text_token: {message.text_token} is outside [0, {self._model.text_cardinality}): open a new session"
            )
        return Reply(
            sequence,
            self._packer.unpack(message.codes) if self._has_sound(sequence) else None,
            message.text_token if message.HasField("text_token") else self._model.text_padding_token,
            plain_text(message.text),
            round_trip_s,
            said,
            all_begun,
            message.said_all,
            _probability(message.pause) if message.HasField("pause") else None,
        )

    def _has_sound(self, sequence: int) -> bool:
        """Whether a reply has codes."""
        model = self._model
        return model.model_codebooks > 0 and sequence >= model.delay_steps + model.sound_delay_steps


def _probability(value: float) -> float:
    if not 0 <= value <= 1:  # not a number fails too
        raise ProtocolError(f"pause: {value} is no probability: open a new session")
    return value
