"""The messages between the event loop's process and the stepper's, over one socket. Nothing else crosses.

A message is msgpack behind its length; a frame takes 60 bytes, a step over 64 sessions 8 KB. Nothing is pickled.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec
import numpy as np

from antiphon.history import HistoryTokens
from antiphon.logs import Format
from antiphon.spec import Sampling
from antiphon_cloud.model.tokens import FORCED_TEXT
from antiphon_cloud.runner.settings import SessionSettings

T = TypeVar("T")

LENGTH = struct.Struct("=I")
TOKENS = np.dtype(np.int32)
ROW_HEAD = 7  # columns of a `Stepped` row before its codes


class PackedHistory(msgspec.Struct, array_like=True):
    """`HistoryTokens` in bytes."""

    steps: int
    text: bytes  # [T]
    user: bytes  # [T, user_codebooks]
    codes: bytes  # [T, model_codebooks]
    user_codebooks: int
    model_codebooks: int
    forced: bytes = b""  # [n, FORCED_TEXT + model_codebooks]

    @classmethod
    def of(cls, history: HistoryTokens) -> PackedHistory:
        """The bytes of a session's history."""
        text, user, codes = (
            part.astype(TOKENS, copy=False).tobytes() for part in (history.text, history.user, history.codes)
        )
        forced = b"" if history.forced is None else history.forced.astype(TOKENS, copy=False).tobytes()
        return cls(history.steps, text, user, codes, history.user.shape[1], history.codes.shape[1], forced)

    def tokens(self) -> HistoryTokens:
        """The tokens again."""
        text = np.frombuffer(self.text, TOKENS)
        user = np.frombuffer(self.user, TOKENS).reshape(len(text), self.user_codebooks)
        codes = np.frombuffer(self.codes, TOKENS).reshape(len(text), self.model_codebooks)
        forced = np.frombuffer(self.forced, TOKENS).reshape(-1, FORCED_TEXT + self.model_codebooks)
        return HistoryTokens(self.steps, user, text, codes, forced if len(forced) else None)


class Load(msgspec.Struct, array_like=True, tag=0):
    """The first message: what to load."""

    loader: str  # MODULE:FUNCTION
    arguments: dict[str, Any]
    log_level: int
    log_format: Format = "text"
    log_name: str = ""


class Adapter(msgspec.Struct, array_like=True):
    """The adapter that a session is stepped with."""

    place: int  # of the stepper's memory
    name: str
    weights: str  # file
    settings: str  # file, which need not exist
    fresh: bool  # it is to be read into the place; else it is there, or on its way
    sha256: bytes  # that it must have; empty for any


class Begin(msgspec.Struct, array_like=True, tag=1):
    """A slot is taken: by a session that begins, or by one that goes on from its history."""

    generation: int
    row: int
    owner: str
    seed: int
    sampling: Sampling
    settings: SessionSettings
    history: PackedHistory | None
    pages: int  # of keys and values that it may have
    adapter: Adapter | None = None


class Frame(msgspec.Struct, array_like=True, tag=2):
    """One frame of user codes [user_codebooks]."""

    generation: int
    sequence: int
    arrived_ns: int  # of a clock that both processes share
    codes: bytes
    forced: bytes = b""  # tokens for the model's streams, see `Runner.step`; empty: all are drawn


class Release(msgspec.Struct, array_like=True, tag=3):
    """A slot is given back; its frames that still wait are dropped."""

    generation: int


class Allow(msgspec.Struct, array_like=True, tag=4):
    """A session may have more memory, before the first frame that needs it."""

    generation: int
    pages: int  # of keys and values, in all


class LogLevel(msgspec.Struct, array_like=True, tag=5):
    """From which level on the stepper's process says what happens."""

    level: int


ToStepper = Load | Begin | Frame | Release | Allow | LogLevel


class Loaded(msgspec.Struct, array_like=True, tag=0):
    """The model is loaded."""

    facts: dict[str, Any]


class Failed(msgspec.Struct, array_like=True, tag=1):
    """A session, or where `generation` is None the loading or the device, has failed; the message is for people."""

    generation: int | None
    message: str
    unmet: bool = False  # the session asked for what cannot be had here


class Prefilled(msgspec.Struct, array_like=True, tag=2):
    """All that a session waited for is there: it may step."""

    generation: int
    adapter_sha256: bytes = b""


class Chunk(msgspec.Struct, array_like=True, tag=3):
    """One chunk of a session's prefill is done."""

    took_ms: float
    beside: bool  # others step meanwhile


class Stepped(msgspec.Struct, array_like=True, tag=4):
    """One step over n sessions."""

    start_ns: int
    end_ns: int
    sessions: int
    rows: bytes
    """[n, ROW_HEAD + model_codebooks] int64: generation, sequence, finite, arrived (ns), fed, drawn, text, codes."""
    heads: bytes  # [n, heads] float32: the probability of each extra head's first class

    def table(self) -> Iterator[tuple[list[int], list[int]]]:
        """The rows, each as its first `ROW_HEAD` numbers and its codes."""
        numbers = memoryview(self.rows).cast("q").tolist()
        width = len(numbers) // self.sessions
        for start in range(0, len(numbers), width):
            yield numbers[start : start + ROW_HEAD], numbers[start + ROW_HEAD : start + width]

    def head_rows(self) -> list[tuple[float, ...]]:
        """The extra heads' probabilities, row by row."""
        if not self.heads:
            return [()] * self.sessions
        return [tuple(row) for row in np.frombuffer(self.heads, np.float32).reshape(self.sessions, -1).tolist()]


class Unloaded(msgspec.Struct, array_like=True, tag=5):
    """What was to be read into a place of adapters cannot be; the sessions that want it hear of it by themselves."""

    place: int


FromStepper = Loaded | Failed | Prefilled | Chunk | Stepped | Unloaded


def encoded(message: ToStepper | FromStepper) -> bytes:
    """A message as it crosses."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body


class Splitter:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that `data` completes."""
        self._rest += data
        start, end = 0, len(self._rest)
        while end - start >= LENGTH.size:
            (size,) = LENGTH.unpack_from(self._rest, start)
            stop = start + LENGTH.size + size
            if stop > end:
                break
            yield bytes(self._rest[start + LENGTH.size : stop])
            start = stop
        del self._rest[:start]


_encoder = msgspec.msgpack.Encoder()
to_stepper: msgspec.msgpack.Decoder[ToStepper] = msgspec.msgpack.Decoder(ToStepper)
from_stepper: msgspec.msgpack.Decoder[FromStepper] = msgspec.msgpack.Decoder(FromStepper)


def built(kind: type[T], facts: Mapping[str, Any]) -> T:
    """A value of `kind`, a dataclass, from what `msgspec.to_builtins` made of one."""
    return msgspec.convert(facts, kind)
