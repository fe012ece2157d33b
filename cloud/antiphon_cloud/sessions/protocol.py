"""The protocol of one call, without I/O: messages in, events out; replies in, messages out.

    AWAITING_OPEN ──Open──▶ OPEN ──Close──▶ CLOSING ──last reply──▶ CLOSED

Every frame up is answered by one reply down, in order. Frames are numbered here, by the step that they are of; every
other room only checks the number. A message that breaks the contract raises; the gate translates that to a status.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from antiphon.codes import Codes
from antiphon.errors import CodecMismatchError, PreconditionError, ProtocolError, SequenceError
from antiphon.history import HistoryTokens
from antiphon.spec import CodecSpec, Limits, ModelSpec, Sampling, shown
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.engine.slot import Reply
from antiphon_cloud.runner.settings import DEFAULT, SessionSettings
from antiphon_cloud.sessions.text_stream import TextStream

MAX_TEMPERATURE = 100.0  # beyond it every token is as likely as the next
TIMINGS_KEPT = 1024  # frames whose timings Closed reports: 8 KiB at the most


class State(enum.Enum):
    """Where the conversation stands."""

    AWAITING_OPEN = enum.auto()
    OPEN = enum.auto()
    CLOSING = enum.auto()
    CLOSED = enum.auto()


@dataclass(frozen=True, slots=True)
class OpenRequested:
    """The edge asks for a session; answer with `CallProtocol.opened`."""

    seed: int
    sampling: Sampling
    history: HistoryTokens | None = None  # of a session that goes on
    resume_token: bytes = b""
    settings: SessionSettings = DEFAULT
    adapter_sha256: bytes = b""  # of the adapter that the session began with


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """The user's codes of one frame; answer with `CallProtocol.reply`."""

    sequence: int
    codes: Codes


@dataclass(frozen=True, slots=True)
class CloseRequested:
    """The edge has sent its last frame."""


Event = OpenRequested | FrameReceived | CloseRequested


class CallProtocol:
    """The state machine of one call to Converse.

    Args:
        model: the model that answers.
        codec: the codec that the worker's codes belong to.
        limits: what the worker allows.
        piece_of: a text token's bytes; see `TextStream`.
    """

    def __init__(self, model: ModelSpec, codec: CodecSpec, limits: Limits, piece_of: Callable[[int], bytes]) -> None:
        self.state = State.AWAITING_OPEN
        self._model = model
        self._codec = codec
        self._limits = limits
        self._text = TextStream(piece_of)
        self._user_packer = model.user_packer
        self._model_packer = model.model_packer
        self._received = 0  # frames of the whole session, also of earlier calls: the next one's number
        self._answered = 0  # the number of the next reply
        self._numbered: set[int] = set()  # frames in flight that gave their number
        self._timings: deque[tuple[int, int]] | None = None

    def receive(self, request: pb.ConverseRequest) -> Event:
        """Takes one message of the edge.

        Raises:
            ProtocolError: it breaks the contract; the message names the field.
            PreconditionError: it asks for a codec or a mode that this worker does not serve.
        """
        kind = request.WhichOneof("control") or "frame"
        if self.state is State.AWAITING_OPEN and kind != "open":
            raise ProtocolError(f"{kind}: came before Open; the first message must be Open")
        if kind == "open":
            return self._receive_open(request.open)
        if self.state is not State.OPEN:
            raise ProtocolError(f"{kind}: came after Close; open a new call")
        if kind == "frame":
            return self._receive_frame(request)
        self.state = State.CLOSING
        return CloseRequested()

    def opened(
        self, session_id: str, resume_token: bytes, rebuilt_steps: int = 0, adapter_sha256: bytes = b""
    ) -> pb.ConverseResponse:
        """The answer to `OpenRequested`."""
        return pb.ConverseResponse(
            opened=pb.Opened(
                session_id=session_id,
                resume_token=resume_token,
                step_offset=self._answered,
                rebuilt_steps=rebuilt_steps,
                adapter_sha256=adapter_sha256,
                model=self._model.to_message(),
                codec=self._codec.to_message(),
                limits=self._limits.to_message(),
            )
        )

    def reply(self, reply: Reply) -> pb.ConverseResponse:
        """The answer to one `FrameReceived`, in the order of the frames."""
        assert reply.sequence == self._answered, "the engine answers in order"
        self._answered = reply.sequence + 1
        if self._timings is not None:
            self._timings.append((reply.wait_us, reply.step_us))
        response = pb.ConverseResponse()
        if reply.sequence in self._numbered:
            self._numbered.remove(reply.sequence)
            response.sequence = reply.sequence
        if reply.text_token >= 0:
            response.codes = self._model_packer.pack(reply.codes)
            if reply.text_token != self._model.text_padding_token:
                response.text_token = reply.text_token
                response.text = self._text.add(reply.text_token)
        return response

    def closed(self) -> pb.ConverseResponse:
        """The totals that end the call, after the last reply."""
        assert self._answered == self._received, "every frame is answered first"
        self.state = State.CLOSED
        closed = pb.Closed(frames=self._answered)
        if self._timings is not None:
            closed.timings.wait_us.extend(wait_us for wait_us, _ in self._timings)
            closed.timings.step_us.extend(step_us for _, step_us in self._timings)
        return pb.ConverseResponse(closed=closed)

    def _receive_open(self, message: pb.Open) -> OpenRequested:
        if self.state is not State.AWAITING_OPEN:
            raise ProtocolError("open: this call is open already; one call carries one session")
        if message.codec_fingerprint != self._codec.fingerprint:
            theirs = message.codec_fingerprint.hex() or "none"
            raise CodecMismatchError(
                f"open.codec_fingerprint: the edge's codec is {theirs[:16]}, this worker's is "
                f"{self._codec.fingerprint.hex()[:16]}; run antiphon-edge pull to fetch the worker's"
            )
        listens_only = self._model.model_codebooks == 0
        if (message.mode == pb.MODE_DIALOGUE and listens_only) or (
            message.mode == pb.MODE_TRANSCRIPTION and not listens_only
        ):
            raise PreconditionError(
                f"open.mode: this worker serves {self._model.model_type}, which "
                f"{'only listens' if listens_only else 'speaks'}; leave the mode out to take what it does"
            )
        sampling = self._sampling(message.sampling) if message.HasField("sampling") else self._model.sampling
        if message.timings:
            self._timings = deque(maxlen=TIMINGS_KEPT)
        history = self._history(message.history) if message.HasField("history") else None
        self.state = State.OPEN
        if history is not None:
            self._received = self._answered = history.steps
            self._text.go_on_after(int(token) for token in reversed(history.text))
        settings = SessionSettings(adapter=message.adapter)
        return OpenRequested(message.seed, sampling, history, message.resume_token, settings, message.adapter_sha256)

    def _history(self, history: pb.History) -> HistoryTokens:
        model = self._model
        if history.model_fingerprint != model.fingerprint:
            raise PreconditionError(
                f"open.history.model_fingerprint: the session was held with {history.model[:64] or 'no model'} "
                f"({shown(history.model_fingerprint)}), this worker serves {model.name} ({shown(model.fingerprint)}); "
                "start a new session"
            )
        return HistoryTokens.from_message(history, self._model, self._limits.history_steps)

    def _sampling(self, message: pb.Sampling) -> Sampling:
        for name in ("text_temperature", "audio_temperature"):
            value = getattr(message, name)
            if not 0 <= value <= MAX_TEMPERATURE:  # not a number fails too
                raise ProtocolError(f"open.sampling.{name}: {value} is outside [0, {MAX_TEMPERATURE:g}]")
        for name in ("text_top_k", "audio_top_k"):
            value = getattr(message, name)
            if value > self._limits.max_top_k:
                raise ProtocolError(f"open.sampling.{name}: {value} is above this worker's {self._limits.max_top_k}")
        return Sampling(
            message.text_temperature,
            message.text_top_k or self._model.sampling.text_top_k,
            message.audio_temperature,
            message.audio_top_k or self._model.sampling.audio_top_k,
        )

    def _receive_frame(self, frame: pb.ConverseRequest) -> FrameReceived:
        sequence = self._received
        if frame.HasField("sequence"):
            if frame.sequence != sequence:
                raise SequenceError(f"sequence: expected {sequence}, got {frame.sequence}")
            self._numbered.add(sequence)
        codes = self._user_packer.unpack(frame.codes)
        self._received += 1
        return FrameReceived(sequence, codes)
