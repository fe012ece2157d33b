"""Recordings of conversations: what both sides said, as codes and text, 40 bytes a frame.

An `.antiphon` file is a stream of msgpack objects. The first is a map: `format` ("antiphon"), `version`, `started`
(ISO 8601), `seed`, `sampling`, `model` and `codec` (the specs' fields). Then one array a step: the frame's number, the
seconds since the start when its reply came, its row of tokens (`antiphon.history`), and the reply's text.

Every step is written when it is known, with one system call, so a file can be read while it grows, and whatever ends
the process, all but the step under way is there. A reader passes over a torn tail. When the machine itself loses its
power, what its system had not written out yet goes too: the last half a minute, as a rule. To wait for the disk at
every step would take an SD card longer than a frame lasts; the disk is waited for once, at the end.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgpack
import msgspec

from antiphon.codes import Codes
from antiphon.errors import AntiphonError
from antiphon.history import RowLayout
from antiphon.plain_text import plain_line, plain_text
from antiphon.spec import CodecSpec, ModelSpec, Sampling
from antiphon_edge.client.events import Reply
from antiphon_edge.client.session import Session
from antiphon_edge.errors import RecordingError

FORMAT, VERSION = "antiphon", 1
PAUSE_S = 1.0  # without text: the transcript begins a new line
MAX_OBJECT_BYTES = 1 << 20
MAX_ENTRIES = 1 << 10  # of an array or a map
REASON_CHARACTERS = 200


class Recorder:
    """Writes a session's steps as they are answered; a context manager.

    Raises:
        RecordingError: the file exists already, cannot be created, or (while recording) the disk is full.
    """

    def __init__(self, path: Path, session: Session, codec: CodecSpec) -> None:
        self._path, self._session = path, session
        try:
            self._file = open(path, "xb", buffering=0, opener=_for_its_owner)  # noqa: SIM115 -- as pathlib cannot
        except FileExistsError:
            raise RecordingError(f"{path} exists already: choose another name for the recording") from None
        except OSError as error:
            raise RecordingError(f"{path} cannot be written: {os.strerror(error.errno or 0).lower()}") from None
        self._began_s = time.perf_counter()
        header = {
            "format": FORMAT,
            "version": VERSION,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seed": session.seed,
            "sampling": asdict(session.sampling),
            "model": asdict(session.model),
            "codec": asdict(codec),
        }
        self._write(header)

    def add(self, reply: Reply) -> None:
        """Writes the step of a reply that the session has just given."""
        at_s = round(time.perf_counter() - self._began_s, 3)
        self._write([reply.sequence, at_s, self._session.history.row(reply.sequence), reply.text])

    def _write(self, item: Any) -> None:
        packed = msgpack.packb(item)
        try:
            written = self._file.write(packed)
        except OSError as error:
            raise RecordingError(f"{self._path} cannot be written: {os.strerror(error.errno or 0).lower()}") from None
        if written != len(packed):
            raise RecordingError(f"{self._path} cannot be written on: the disk is full")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(OSError):  # a device that cannot
            os.fsync(self._file.fileno())
        self._file.close()


@dataclass(frozen=True, slots=True)
class Step:
    """One frame of both sides."""

    sequence: int
    at_s: float  # when the reply came
    user: Codes  # [user_codebooks]
    model: Codes | None  # [model_codebooks]; None while the delays hold it back, and where the model only listens
    text: str


@dataclass(frozen=True, slots=True)
class Recording:
    """A conversation that was recorded, or still is."""

    started: str
    seed: int
    sampling: Sampling
    model: ModelSpec
    codec: CodecSpec
    steps: list[Step] = field(default_factory=list)
    torn_bytes: int = 0  # at the end, of a step that was not written whole

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Reads a recording up to its last whole step.

        Raises:
            RecordingError: it cannot be read, is no recording, or one of a newer version, or is damaged amid.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RecordingError(f"{path} cannot be read: {os.strerror(error.errno or 0).lower()}") from None
        items = _Items(data)
        try:
            recording = cls._from_header(next(items, None), path)
            layout = RowLayout.of(recording.model)
            for item in items:
                recording.steps.append(_step(item, layout, recording))
        except RecordingError:
            raise
        except (AntiphonError, msgpack.UnpackException, ValueError) as error:  # msgspec's are ValueErrors
            reason = plain_line(str(error))[:REASON_CHARACTERS]
            raise RecordingError(
                f"{path} is damaged after {items.end} bytes ({reason}): what is before can be saved with "
                f"head -c {items.end}"
            ) from None
        object.__setattr__(recording, "torn_bytes", len(data) - items.end)
        return recording

    @classmethod
    def _from_header(cls, header: Any, path: Path) -> Recording:
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise RecordingError(f"{path} is no recording of a conversation: choose one made with talk --record")
        if msgspec.convert(header, _Version).version > VERSION:
            raise RecordingError(f"{path} was recorded by a newer version of Antiphon: upgrade this one")
        known = msgspec.convert(header, _Header)
        model = ModelSpec.from_message(known.model.to_message())  # which checks the numbers, and cleans the texts
        codec = CodecSpec.from_message(known.codec.to_message())
        return cls(plain_line(known.started), known.seed, known.sampling, model, codec)

    def transcript(self) -> str:
        """The model's words, a line for each time it spoke, with the time of its first word."""
        lines: list[str] = []
        silent_since = -PAUSE_S
        for step in self.steps:
            at_s = step.sequence * self.codec.frame_s
            if not step.text:
                continue
            if at_s - silent_since >= PAUSE_S or not lines:
                lines.append(f"[{int(at_s // 60):02d}:{at_s % 60:04.1f}] {step.text.lstrip()}")
            else:
                lines[-1] += step.text
            silent_since = at_s
        return "\n".join(lines)


class _Version(msgspec.Struct):
    version: int


class _Header(msgspec.Struct):
    started: str
    seed: int
    sampling: Sampling
    model: ModelSpec
    codec: CodecSpec


def _for_its_owner(path: str, flags: int) -> int:
    """A conversation is nobody else's to read."""
    return os.open(path, flags, 0o600)


class _Items(Iterator[Any]):
    """The whole objects of a stream; `end` is where the last one ends."""

    def __init__(self, data: bytes) -> None:
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=0,
            max_str_len=MAX_OBJECT_BYTES,
            max_bin_len=MAX_OBJECT_BYTES,
            max_array_len=MAX_ENTRIES,
            max_map_len=MAX_ENTRIES,
        )
        self._unpacker.feed(data)
        self.end = 0

    def __next__(self) -> Any:
        item = next(self._unpacker)
        self.end = self._unpacker.tell()
        return item


def _step(item: Any, layout: RowLayout, recording: Recording) -> Step:
    sequence, at_s, row, text = msgspec.convert(item, tuple[int, float, bytes, str])
    last = recording.steps[-1].sequence if recording.steps else -1
    if not last < sequence < 1 << 32 or not 0 <= at_s < math.inf:
        raise ValueError(f"step {sequence} at {at_s} s, after {last}")
    if len(row) != layout.size_bytes:
        raise ValueError(f"a row of {len(row)} bytes, expected {layout.size_bytes}")
    user, model = layout.user.unpack(layout.user_codes(row)), recording.model
    codes = None
    if model.model_codebooks and sequence >= model.delay_steps:
        codes = layout.model.unpack(row[-layout.model.size_bytes :])
    return Step(sequence, at_s, user, codes, plain_text(text))
