"""A session: frames in, replies out, over as many streams as it takes.

A `Session` is what its owner holds. Its `Carrier` keeps the `Journal` (the frames that are not answered yet, and the
tokens of those that are) on a `Stream`, which is one call's share of it. When the stream breaks or stalls, or the
worker asks the edge to go, the carrier opens another call with the history, sends the unanswered frames again and goes
on. While there are two streams, both get the frames, and the first reply to each counts; the old one goes when the new
one has caught up, so that nobody hears a gap.

What a call does in each state (`test_session_states.py` tries each, `test_session_orders.py` any order of them):

| state | `send`, `send_live` | `receive` | `end` |
| --- | --- | --- | --- |
| open | sent | the next reply | ending |
| stalled | kept, sent later | waits for the old worker or a new one, at most `patience_s` | ending |
| moving | sent | the next reply | ending |
| lost | kept, sent later | waits for a new worker, at most `patience_s`, then the last error | ending |
| ending | SequenceError | the replies under way, then None, at most `stall_s` after the last | nothing |
| ended | the error below | the replies that are left, then None or the error | nothing, or the error |

Open: a stream answers. Stalled: frames are unanswered for `stall_s`, another worker is looked for. Moving: the worker
has asked the session to go and still answers, another one is looked for. Lost: there is no stream, another worker is
looked for. Ending: no more frames will come, in any of the states before. Ended: well, with the error that every call
then raises, or because its owner has left, which drops the replies that were not taken (SequenceError from then on).

`send` waits for room in every state, `send_live` never: of frames that are kept it drops the oldest after 2 s. Without
reconnection (`patience_s` 0) there is no stalled, moving or lost: after `stall_s` without an answer, or when the stream
is lost, the session has ended with the error. Any call may be cancelled at any time: the frame was then not sent, the
reply not taken. `abandon` ends every state, amid dialling too: it says Close to the worker and gives back calls,
connections and tasks, within about 2 s; a cancellation waits until it has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy.typing as npt

from antiphon.errors import AntiphonError, SequenceError
from antiphon.history import History
from antiphon.spec import Limits, ModelSpec
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.client.arguments import check_text
from antiphon_edge.client.carrier import Carrier
from antiphon_edge.client.events import GoAway, Reply, Totals

SAY_CHARACTERS = 4096  # of a part of a text that is sent at once


class Session:
    """A live session, as its owner holds it; `connect` makes it and abandons it.

    Bounded both ways: `send` waits while `limits.max_frames_in_flight` frames are unanswered or their replies not
    taken. Send and receive in turn, or from two tasks: one that sends, one that receives.

    Args:
        carrier: carries the session, which is open.
    """

    def __init__(self, carrier: Carrier) -> None:
        sampling = carrier.opening.sampling
        assert sampling is not None, "the first call chose it"
        self.seed = carrier.opening.seed
        self.sampling = sampling
        """How the session's tokens are drawn."""
        self._carrier = carrier
        self._journal = carrier.journal
        self._packer = carrier.journal.user_packer

    @property
    def model(self) -> ModelSpec:
        """The model that answers."""
        return self._carrier.model

    @property
    def resumptions(self) -> int:
        """Times that the session went on in another call."""
        return self._carrier.resumptions

    @property
    def id(self) -> str:
        """The worker's name for the session."""
        return self._carrier.stream.call.opened.session_id

    @property
    def conversation(self) -> str:
        """Its name in the logs of all workers that carry it, 32 hexadecimal digits."""
        return self._carrier.opening.conversation

    @property
    def prompt_steps(self) -> int:
        """Steps that the model took before the first frame, for its voice and persona."""
        return self._carrier.stream.call.opened.prompt_steps

    @property
    def address(self) -> str:
        """Where the session is, or was last."""
        return self._carrier.address

    @property
    def limits(self) -> Limits:
        """What the worker allows."""
        return self._carrier.stream.limits

    @property
    def history(self) -> History:
        """The session's tokens so far."""
        return self._journal.history

    @property
    def go_away(self) -> GoAway | None:
        """What the worker said, where it has asked the session to move and the session has not yet."""
        return self._carrier.stream.go_away.result() if self._carrier.stream.go_away.done() else None

    @property
    def ends_in_s(self) -> float | None:
        """Seconds until the worker ends the session, which goes on nowhere then; None where it may last."""
        return self._carrier.stream.ends_in_s

    @property
    def totals(self) -> Totals | None:
        """How the session ended; None before, and where it ended with an error."""
        return self._journal.totals

    @property
    def listens(self) -> bool:
        """Whether frames carry codes: in writing they do not, nor for a model that hears nobody."""
        return self._packer.codebooks > 0

    @property
    def writes(self) -> bool:
        """Whether it is a conversation in writing."""
        return self._carrier.opening.mode == pb.MODE_TEXT

    @property
    def stalled_s(self) -> float:
        """Seconds for which the worker has owed an answer."""
        return self._carrier.stream.stalled_s()

    @property
    def in_flight(self) -> int:
        """Frames sent whose replies were not taken yet."""
        return self._journal.in_flight

    @property
    def dropped_frames(self) -> int:
        """Live frames that were never sent, because no worker was there to hear them."""
        return self._journal.dropped_frames

    async def send(self, codes: npt.ArrayLike = ()) -> int:
        """Sends one frame of user codes [user_codebooks] and returns its sequence number; waits for room.

        While no worker is there, frames are kept and sent later. For a model that hears nobody, and in writing, a frame
        has no codes: it asks for a step.

        Raises:
            CodesError: codes of a wrong shape or out of range; nothing was sent.
            AntiphonError: the session has ended; the error says why.
        """
        packed = self._packer.pack(codes)
        await self._journal.wait_for_room()
        sequence = self._journal.append(packed)
        self._carrier.wake()
        return sequence

    def send_live(self, codes: npt.ArrayLike) -> None:
        """Sends one frame of user codes [user_codebooks] and never waits: while no worker hears them, the last 2 s of
        frames are kept, and older ones dropped and counted.

        Raises:
            CodesError: codes of a wrong shape or out of range; nothing was sent.
            AntiphonError: the session has ended; the error says why.
        """
        packed = self._packer.pack(codes)
        self._journal.check_open()
        self._journal.append_live(packed)
        self._carrier.wake()

    @property
    def starved(self) -> bool:
        """Whether a frame may have to wait for words that were not given yet."""
        return self._journal.speech.starved

    def has_room_to_say(self, text: str) -> bool:
        """Whether `say` would not wait."""
        return self._journal.speech.has_room(text, self._journal.say_bytes)

    async def say(self, text: str, speaker: int = 0) -> None:
        """Gives the model words to say; waits while as much waits to be said as the worker takes.

        A model that only speaks reads them aloud, a model in a dialogue says them while it goes on listening, and in
        writing they are what the person writes. A text may come in any parts, such as a language model's tokens: a word
        is complete at white space, or with `finish_saying`. Words are said in the order in which they were given.
        Frames must go on meanwhile: nothing is said without them.

        Args:
            text: any part of a text; `<break time="0.5s"/>` is a pause.
            speaker: whose turn it is, in models of several speakers.

        Raises:
            ArgumentError: a word or a pause is too long, or there is no such speaker; nothing of the part was given.
            PreconditionError: the model only listens.
            NotSupportedError: the worker is too old.
            AntiphonError: the session has ended; the error says why.
        """
        check_text(text)
        for at in range(0, len(text), SAY_CHARACTERS):
            await self._journal.say(text[at : at + SAY_CHARACTERS], speaker)
            self._carrier.wake()

    async def finish_saying(self) -> None:
        """Says that the text is complete. The reply with which its last sound ends is `said_all`; words that are given
        from now on are another text, which is said after it.

        Raises:
            ArgumentError: no words were given since the last text.
            AntiphonError: as in `say`.
        """
        await self._journal.say("", self._journal.speech.speaker, end=True)
        self._carrier.wake()

    async def receive(self) -> Reply | None:
        """The next reply; None after the last one, when `totals` is known.

        Raises:
            AntiphonError: the session has ended; the error says why.
        """
        return await self._journal.next_reply()

    async def __aiter__(self) -> AsyncIterator[Reply]:
        while (reply := await self.receive()) is not None:
            yield reply

    async def end(self) -> None:
        """Says that no more frames will come; the replies under way still do.

        Raises:
            AntiphonError: the session has ended with an error.
        """
        if self._journal.speech.open and not self._journal.ending:
            await self.finish_saying()
        self._journal.finish()
        self._carrier.wake()

    async def abandon(self) -> None:
        """Leaves the session in any state; `connect` calls it."""
        await self._carrier.abandon(self._over())

    def _over(self) -> AntiphonError:
        return SequenceError(f"the session on {self.address} has ended: open a new one")
