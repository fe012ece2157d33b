"""A session: frames in, replies out, whatever becomes of the streams that carry it.

The session owns the conversation (`Exchange`): the frames that are not answered yet, and the tokens of those that are.
A line carries it over one call. When the stream breaks or stalls, or the worker asks the edge to go, the carrier opens
another call with its history, sends the unanswered frames again and goes on. While two lines carry it, both get the
frames, and the first reply to each counts; the old one goes when the new one has caught up, so that nobody hears a gap.

What a call does in each state (`tests/antiphon_edge/client/test_session_states.py` tries every order of them):

| state | `send`, `send_live` | `receive` | `end` |
| --- | --- | --- | --- |
| open | sent | the next reply | ending |
| stalled | kept, sent later | waits for the old worker or a new one, at most `patience_s` | ending |
| moving | sent | the next reply | ending |
| lost | kept, sent later | waits for a new worker, at most `patience_s`, then the last error | ending |
| ending | SequenceError | the replies under way, then None, at most `stall_s` after the last | nothing |
| ended | the error below | the replies that are left, then None or the error | nothing, or the error |

Open: a line answers. Stalled: frames are unanswered for `stall_s`, another worker is looked for. Moving: the worker has
asked the session to go and still answers, another one is looked for. Lost: there is no line, another worker is looked
for. Ending: no more frames will come, in any of the states before. Ended: well, with the error that every call then
raises, or because its owner has left, which drops the replies that were not taken (SequenceError from then on).

`send` waits for room in every state, `send_live` never: of frames that are kept it drops the oldest after 2 s. Without
reconnection (`patience_s` 0) there is no stalled, moving or lost: after `stall_s` without an answer, or when the stream
is lost, the session has ended with the error. Any call may be cancelled at any time: the frame was then not sent, the
reply not taken. `abandon` ends every state, amid dialling too: it says Close to the worker and gives back calls,
connections and tasks, within about 2 s; a cancellation waits until it has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import numpy.typing as npt

from antiphon.errors import AntiphonError, SequenceError
from antiphon.history import History
from antiphon.spec import Limits, ModelSpec, Sampling
from antiphon_edge.client.carrier import Carrier, Dial
from antiphon_edge.client.events import Change, GoAway, Reply, Totals
from antiphon_edge.client.reconnect import Reconnect
from antiphon_edge.transport.call import Call, Opening


class Session:
    """A live session; `client.connect` makes it.

    Bounded both ways: `send` waits while `limits.max_frames_in_flight` frames are unanswered or their replies not
    taken. Send and receive in turn, or from two tasks: one that sends, one that receives.

    Args:
        addresses: HOST:PORT of the workers, or of load balancers before them, in the order of preference.
        opening: what every call says first.
        reconnect: how to go on when a stream is lost.
        on_change: told when the session looks for another worker, and when it has found one.
        dial: opens a call.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        opening: Opening,
        reconnect: Reconnect,
        on_change: Callable[[Change], None],
        dial: Dial = Call.dial,
    ) -> None:
        self.seed = opening.seed
        self._carrier = Carrier(addresses, opening, reconnect, on_change, dial)

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
        return self._carrier.line.call.opened.session_id

    @property
    def address(self) -> str:
        """Where the session is, or was last."""
        return self._carrier.address

    @property
    def limits(self) -> Limits:
        """What the worker allows."""
        return self._carrier.line.limits

    @property
    def sampling(self) -> Sampling:
        """How the session's tokens are drawn."""
        sampling = self._carrier.opening.sampling
        assert sampling is not None, "the session is open"
        return sampling

    @property
    def history(self) -> History:
        """The session's tokens so far."""
        return self._carrier.exchange.history

    @property
    def go_away(self) -> GoAway | None:
        """What the worker said, where it has asked the session to move and the session has not yet."""
        return self._carrier.line.go_away.result() if self._carrier.line.go_away.done() else None

    @property
    def totals(self) -> Totals | None:
        """How the session ended; None before, and where it ended with an error."""
        return self._carrier.exchange.totals

    @property
    def in_flight(self) -> int:
        """Frames sent whose replies were not taken yet."""
        return self._carrier.exchange.in_flight

    @property
    def dropped_frames(self) -> int:
        """Live frames that were never sent, because no worker was there to hear them."""
        return self._carrier.exchange.dropped_frames

    async def open(self) -> None:
        """The first call; `client.connect` opens it.

        Raises:
            AntiphonError: no address took the session; the error is the last one's.
        """
        await self._carrier.open()
        self._packer = self.model.user_packer

    async def send(self, codes: npt.ArrayLike) -> int:
        """Sends one frame of user codes [user_codebooks] and returns its sequence number; waits for room.

        While no worker is there, frames are kept and sent later.

        Raises:
            CodesError: codes of a wrong shape or out of range; nothing was sent.
            AntiphonError: the session has ended; the error says why.
        """
        packed = self._packer.pack(codes)
        await self._carrier.exchange.room()
        sequence = self._carrier.exchange.give(packed)
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
        self._carrier.exchange.check_open()
        self._carrier.exchange.give_live(packed)
        self._carrier.wake()

    async def receive(self) -> Reply | None:
        """The next reply; None after the last one, when `totals` is known.

        Raises:
            AntiphonError: the session has ended; the error says why.
        """
        return await self._carrier.exchange.take()

    async def __aiter__(self) -> AsyncIterator[Reply]:
        while (reply := await self.receive()) is not None:
            yield reply

    async def end(self) -> None:
        """Says that no more frames will come; the replies under way still do.

        Raises:
            AntiphonError: the session has ended with an error.
        """
        self._carrier.exchange.finish()
        self._carrier.wake()

    async def abandon(self) -> None:
        """Leaves the session, wherever it stands; `client.connect` calls it."""
        await self._carrier.abandon(self._over())

    def _over(self) -> AntiphonError:
        return SequenceError(f"the session on {self.address} has ended: open a new one")
