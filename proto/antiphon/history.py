"""A session's tokens: the edge keeps them for every step, and any worker can resume the session from them.

A row is one step, 24 bytes with the published models: the user's codes as they went up, the text token, and the
model's codes as they came down. `History` is the edge's side, `HistoryTokens` the worker's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from antiphon.codes import CodePacker, Codes
from antiphon.errors import ProtocolError
from antiphon.script_log import ScriptLog
from antiphon.spec import ModelSpec
from antiphon.v1 import dialogue_pb2 as pb

Tokens = npt.NDArray[np.int32]

LONGEST_STEPS = 2**30  # per session: 2.7 years; from twice that on, step numbers overflow int32


def fewest_steps(model: ModelSpec) -> int:
    """The least steps of history from which a longer session can resume: what the next step looks back to.

    The steps that the delays still hide are run again, so what they look back to begins that much earlier. If a
    history does not reach back to the start, its first steps lack part of their input.
    """
    return model.context_steps - 1 + model.delay_steps + max(model.delay_steps, 1)


@dataclass(frozen=True)
class RowLayout:
    """The layout of a step's row: user codes, text token, model codes."""

    user: CodePacker
    text_bytes: int
    model: CodePacker

    @classmethod
    def of(cls, model: ModelSpec) -> Self:
        """The layout for a model's tokens."""
        return cls(model.user_packer, ((model.text_cardinality - 1).bit_length() + 7) // 8, model.model_packer)

    @cached_property
    def size_bytes(self) -> int:
        """Bytes of a row."""
        return self.user.size_bytes + self.text_bytes + self.model.size_bytes

    def pack(self, user: bytes, text_token: int | None, model: bytes) -> bytes:
        """A row of packed user codes, the reply's text token and its packed codes. While the delays hold it
        back, the reply has None and no codes."""
        return user + (text_token or 0).to_bytes(self.text_bytes) + (model or bytes(self.model.size_bytes))

    def user_codes(self, row: bytes) -> bytes:
        """The packed user codes of a row."""
        return row[: self.user.size_bytes]


class History:
    """The last steps of a session, at most `capacity` rows; the oldest are dropped.

    Args:
        model: the model of the tokens.
        capacity: `Limits.history_steps` of the worker.
    """

    def __init__(self, model: ModelSpec, capacity: int) -> None:
        self.layout = RowLayout.of(model)
        self.steps = 0
        """Steps that the session has taken."""
        self.script = ScriptLog()
        """What the session was given to say beside."""
        self._model = model
        self._capacity = capacity
        self._rows = bytearray()  # one array: an object per row would take three times the memory

    def __len__(self) -> int:
        return len(self._rows) // self.layout.size_bytes

    def append(self, user: bytes, text_token: int | None, model: bytes) -> None:
        """Adds a step: packed user codes, and the reply's text token and packed codes."""
        if len(self) == self._capacity:
            del self._rows[: self.layout.size_bytes]
        self._rows += self.layout.pack(user, text_token, model)
        self.steps += 1

    def row(self, step: int) -> bytes:
        """The row of a kept step."""
        first = self.steps - len(self)
        assert first <= step < self.steps, "the step is kept"
        size = self.layout.size_bytes
        return bytes(self._rows[(step - first) * size : (step - first + 1) * size])

    def user_codes(self, step: int) -> bytes:
        """The packed user codes of a kept step."""
        return self.layout.user_codes(self.row(step))

    def to_message(self) -> pb.History:
        """For `Open`."""
        model = self._model
        rows = bytes(self._rows)
        return pb.History(steps=self.steps, rows=rows, model=model.name, model_fingerprint=model.fingerprint)


@dataclass(frozen=True, slots=True)
class HistoryTokens:
    """The last T steps of a session that has taken `steps`. Replies mean nothing in the session's first steps,
    which the delays hold back."""

    steps: int
    user: Codes  # [T, user_codebooks]
    text: Tokens  # [T]
    codes: Codes  # [T, model_codebooks]
    forced: Tokens | None = None
    """What the last steps were forced to, [n, 2 + model_codebooks], as far as the delays hide it; None: to nothing."""

    def __len__(self) -> int:
        return len(self.text)

    @property
    def first(self) -> int:
        """The number of the first step in the history."""
        return self.steps - len(self)

    @classmethod
    def from_message(cls, message: pb.History, model: ModelSpec, capacity: int) -> HistoryTokens:
        """Reads the last `capacity` steps of a history.

        Raises:
            ProtocolError: the history is damaged or lacks steps that the model looks back to; the message names the
                field.
        """
        if message.steps > LONGEST_STEPS:
            raise ProtocolError(f"open.history.steps: {message.steps} is more than any session takes ({LONGEST_STEPS})")
        layout = RowLayout.of(model)
        count, rest = divmod(len(message.rows), layout.size_bytes)
        if rest:
            raise ProtocolError(
                f"open.history.rows: {len(message.rows)} bytes are no whole number of rows of {layout.size_bytes}"
            )
        if count > message.steps:
            raise ProtocolError(f"open.history.rows: {count} rows of a session that has taken {message.steps} steps")
        needed = min(message.steps, fewest_steps(model))
        if count < needed:
            raise ProtocolError(f"open.history.rows: {count} rows, where this model looks back to {needed} steps")
        kept = min(count, max(capacity, needed))
        first = message.steps - kept
        table = np.frombuffer(message.rows, np.uint8).reshape(count, layout.size_bytes)[count - kept :]
        user, text, codes = np.split(table, [layout.user.size_bytes, layout.user.size_bytes + layout.text_bytes], 1)
        places = 256 ** np.arange(layout.text_bytes - 1, -1, -1)
        texts = text.astype(np.int64) @ places  # [T]
        held_back = max(0, model.delay_steps - first)
        if (texts[held_back:] >= model.text_cardinality).any():
            raise ProtocolError(f"open.history.rows: a text token is outside [0, {model.text_cardinality})")
        return cls(
            message.steps,
            layout.user.unpack_frames(user),
            texts.astype(np.int32),
            layout.model.unpack_frames(codes),
        )
