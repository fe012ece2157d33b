"""The protocol of one call, without I/O: messages in, events out; replies in, messages out.

    AWAITING_OPEN ──Open──▶ OPEN ──Close──▶ CLOSING ──last reply──▶ CLOSED

Every frame up is answered by one reply down, in order. Frames are numbered here, by the step that they are of; every
other room only checks the number. A message that breaks the contract raises; the gate translates that to a status.
"""

from __future__ import annotations

import enum
import re
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from antiphon.codes import Codes
from antiphon.errors import CodecMismatchError, CodesError, PreconditionError, ProtocolError, SequenceError
from antiphon.history import HistoryTokens
from antiphon.spec import CodecSpec, Limits, ModelSpec, Sampling, shown
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.checkpoint.conditions import Condition, require_conditions
from antiphon_cloud.engine.slot import Reply
from antiphon_cloud.model.config import PAUSE_HEAD
from antiphon_cloud.model.tokens import ZERO
from antiphon_cloud.runner.settings import DEFAULT, SessionSettings
from antiphon_cloud.sessions.prompts.prompt import Prompt, Strategy, no_prompt, prompt_of
from antiphon_cloud.sessions.script.machine import Outcome
from antiphon_cloud.sessions.script.script import Script, ScriptRules
from antiphon_cloud.sessions.text_stream import TextStream

MAX_TEMPERATURE = 100.0  # beyond it every token is as likely as the next
CONVERSATION = re.compile("[0-9a-f]{32}")
TIMINGS_KEPT = 1024  # frames whose timings Closed reports: 8 KiB at the most


NOTHING_SAID = Outcome()


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
    prompt: Prompt | None = None  # that it begins with, or began with
    script: Script | None = field(default=None, compare=False)  # None: the model only listens
    conditions: Mapping[str, str] = field(default_factory=dict)  # that it chose
    adapter: str = ""  # that it chose
    adapter_sha256: bytes = b""  # of the adapter that the session began with
    mode: pb.Mode = pb.MODE_UNSPECIFIED
    conversation: str = field(default="", compare=False)  # its name in all workers' logs, which decides nothing

    @property
    def past(self) -> HistoryTokens | None:
        """The session's tokens with its prompt's before them; None for a session that begins with nothing."""
        if self.prompt is None or not self.prompt.steps:
            return self.history
        past = self.prompt.before(self.history)
        return past if self.script is None else self.script.after_prompt(past)

    @property
    def beginning(self) -> tuple[object, ...]:
        """What makes the session's tokens beside what is heard and said: it is the same in each of its calls."""
        return self.seed, self.sampling, self.mode, self.settings

    @property
    def settings(self) -> SessionSettings:
        """What the model is told for the whole session."""
        settings = DEFAULT if self.prompt is None else self.prompt.settings
        return replace(settings, conditions=self.conditions, adapter=self.adapter)


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """The user's codes of one frame; answer with `CallProtocol.reply`."""

    sequence: int
    codes: Codes


@dataclass(frozen=True, slots=True)
class CloseRequested:
    """The edge has sent its last frame."""


@dataclass(frozen=True, slots=True)
class SayReceived:
    """Words for the session's script."""

    say: pb.Say


Event = OpenRequested | FrameReceived | SayReceived | CloseRequested


class CallProtocol:
    """The state machine of one call to Converse.

    Args:
        model: the model that answers.
        codec: the codec that the worker's codes belong to.
        limits: what the worker allows.
        piece_of: a text token's bytes; see `TextStream`.
        prompts: of the model.
        rules: of the model's scripts; None where it only listens.
        conditions: of the model, which a session may choose.
    """

    def __init__(
        self,
        model: ModelSpec,
        codec: CodecSpec,
        limits: Limits,
        piece_of: Callable[[int], bytes],
        prompts: Strategy = no_prompt,
        rules: ScriptRules | None = None,
        conditions: Sequence[Condition] = (),
    ) -> None:
        self.state = State.AWAITING_OPEN
        self._model = model
        self._codec = codec
        self._limits = limits
        self._text = TextStream(piece_of)
        self._prompts, self._conditions = prompts, conditions
        self._prompt: Prompt | None = None
        self._rules = rules
        self._written = False  # no stream of codes holds any
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
        if kind == "say":
            if self._rules is None:
                raise ProtocolError(f"say: this worker serves {self._model.model_type}, which only listens")
            return SayReceived(request.say)
        self.state = State.CLOSING
        return CloseRequested()

    def opened(
        self,
        session_id: str,
        resume_token: bytes,
        rebuilt_steps: int = 0,
        adapter_sha256: bytes = b"",
        ends_in_s: float | None = None,
    ) -> pb.ConverseResponse:
        """The answer to `OpenRequested`."""
        return pb.ConverseResponse(
            opened=pb.Opened(
                session_id=session_id,
                resume_token=resume_token,
                step_offset=self._answered,
                rebuilt_steps=rebuilt_steps,
                prompt_sha256=b"" if self._prompt is None else self._prompt.sha256,
                prompt_steps=0 if self._prompt is None else self._prompt.steps,
                adapter_sha256=adapter_sha256,
                ends_in_ms=0 if ends_in_s is None else max(1, round(ends_in_s * 1000)),
                model=self._model.to_message(),
                codec=self._codec.to_message(),
                limits=self._limits.to_message(),
            )
        )

    def reply(self, reply: Reply, outcome: Outcome = NOTHING_SAID) -> pb.ConverseResponse:
        """The answer to one `FrameReceived`, in the order of the frames.

        Args:
            reply: of the engine.
            outcome: what the step did of the session's script.
        """
        assert reply.sequence == self._answered, "the engine answers in order"
        self._answered = reply.sequence + 1
        if self._timings is not None:
            self._timings.append((reply.wait_us, reply.step_us))
        response = pb.ConverseResponse()
        if reply.sequence in self._numbered:
            self._numbered.remove(reply.sequence)
            response.sequence = reply.sequence
        if outcome.said is not None:
            response.said = outcome.said
        response.said_all = outcome.said_all
        if reply.text_token >= 0:
            if (reply.codes >= 0).all():  # none in writing, nor before the first sound of a script
                response.codes = self._model_packer.pack(reply.codes)
            token = reply.text_token % (self._model.text_cardinality + 1)  # without what a second text stream holds
            if token != self._model.text_padding_token:
                response.text_token = token
                response.text = self._text.add(token)
        if self._model.hears_pauses:
            response.pause = reply.heads[PAUSE_HEAD]
        return response

    def closed(self) -> pb.ConverseResponse:
        """The totals that end the call, after the last reply."""
        assert self.state is not State.CLOSING or self._answered == self._received, "every frame is answered first"
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
        mode = self._mode(message.mode)
        conversation = conversation_of(message)
        sampling = self._sampling(message.sampling) if message.HasField("sampling") else self._model.sampling
        if message.timings:
            self._timings = deque(maxlen=TIMINGS_KEPT)
        self._written = mode == pb.MODE_TEXT
        require_conditions(message.conditions, self._conditions)
        self._prompt = prompt_of(self._prompts, message.prompt)
        history = self._history(message.history) if message.HasField("history") else None
        if history is not None:
            self._received = self._answered = history.steps
            self._text.go_on_after(int(token) for token in reversed(history.text))
        script = None
        if self._rules is not None:
            script = Script(self._model, self._rules, mode, self._limits.say_bytes, message.script.start)
            if history is not None:
                history = script.go_on(message.script, history)
        self.state = State.OPEN
        return OpenRequested(
            message.seed,
            sampling,
            history,
            message.resume_token,
            self._prompt,
            script,
            dict(message.conditions),
            message.adapter,
            message.adapter_sha256,
            mode,
            conversation,
        )

    def _mode(self, asked: pb.Mode) -> pb.Mode:
        """What the session does.

        Raises:
            PreconditionError: the model does not do what is asked for.
        """
        model = self._model
        if model.model_codebooks == 0:
            does, modes = "only listens", [pb.MODE_TRANSCRIPTION]
        elif model.user_codebooks == 0:
            does, modes = "only speaks", [pb.MODE_SPEECH]
        else:
            does, modes = "listens and speaks", [pb.MODE_DIALOGUE, pb.MODE_TEXT]
        if asked == pb.MODE_UNSPECIFIED:
            return modes[0]
        if asked not in modes:
            raise PreconditionError(
                f"open.mode: this worker serves {model.model_type}, which {does}; "
                "leave the mode out to take what it does"
            )
        return asked

    def _history(self, history: pb.History) -> HistoryTokens:
        model = self._model
        if history.model_fingerprint != model.fingerprint:
            raise PreconditionError(
                f"open.history.model_fingerprint: the session was held with {history.model[:64] or 'no model'} "
                f"({shown(history.model_fingerprint)}), this worker serves {model.name} ({shown(model.fingerprint)}); "
                "start a new session"
            )
        if self._written:  # its rows hold no codes
            model = model.in_writing()
        return HistoryTokens.from_message(history, model, self._limits.history_steps)

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
        codes = self._codes(frame.codes)
        self._received += 1
        return FrameReceived(sequence, codes)

    def _codes(self, packed: bytes) -> Codes:
        """The user's codes of a frame [user_codebooks]."""
        if not self._written:
            return self._user_packer.unpack(packed)
        if packed:
            raise CodesError(f"codes: expected none in writing, got {len(packed)} bytes")
        return np.full(self._model.user_codebooks, ZERO, np.int32)


def conversation_of(message: pb.Open) -> str:
    """The conversation's name, drawn where the edge gave none.

    Raises:
        ProtocolError: it is none: a log is no place for whatever an edge would write there.
    """
    name = message.conversation
    if not name:
        return secrets.token_hex(16)
    if not CONVERSATION.fullmatch(name):
        raise ProtocolError(f"open.conversation: expected 32 hexadecimal digits, got {len(name)} characters")
    return name
