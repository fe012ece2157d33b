"""`/api/tts_streaming`: what its clients ask for and send, and what they are told of a text that is read aloud."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import numpy as np

from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.client.events import Reply, SpokenWord
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.moshi_server.packing import field, pack, unpack

END = b"\0"  # of the text, in older clients

N = TypeVar("N", int, float)


class Format(Enum):
    """What the client wants to be told in."""

    PCM = "Pcm"
    """Bare single floats, little endian; no other message."""
    PCM_MESSAGE_PACK = "PcmMessagePack"
    OGG_OPUS = "OggOpus"
    """Bare pages, a frame in each; no other message."""
    OGG_OPUS_MESSAGE_PACK = "OggOpusMessagePack"

    @property
    def packed(self) -> bool:
        """Whether sound comes in messages, among others."""
        return self in (Format.PCM_MESSAGE_PACK, Format.OGG_OPUS_MESSAGE_PACK)

    @property
    def opus(self) -> bool:
        """Whether sound is compressed."""
        return self in (Format.OGG_OPUS, Format.OGG_OPUS_MESSAGE_PACK)


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for in the address; None where it is not."""

    voices: tuple[str, ...] = ()
    format: Format = Format.PCM_MESSAGE_PACK
    cfg_alpha: float | None = None
    seed: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    max_seq_len: int | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """More to read aloud."""

    text: str


@dataclass(frozen=True, slots=True)
class Eos:
    """The text is complete."""


def parse_query(query: Mapping[str, str]) -> Query:
    """What the address asks for; names that are not known are left to others.

    Raises:
        MessageError: a value cannot be; the sentence names it.
    """
    format_name = query.get("format", Format.PCM_MESSAGE_PACK.value)
    try:
        wanted = Format(format_name)
    except ValueError:
        known = " or ".join(each.value for each in Format)
        raise MessageError(f"format: {format_name[:40]!r} is not made here: ask for {known}") from None
    voices = [name for value in (query.get("voice"), query.get("voices")) for name in (value or "").split(",") if name]
    return Query(
        tuple(voices),
        wanted,
        _number(query, "cfg_alpha", float, 0.0),
        _number(query, "seed", int, 0),
        _number(query, "temperature", float, 0.0),
        _number(query, "top_k", int, 0),
        _number(query, "max_seq_len", int, 1),
    )


def parse(data: bytes | str) -> Text | Eos:
    """What a client says; words may come bare, too.

    Raises:
        MessageError: it is none of the messages; the sentence names the field.
    """
    if isinstance(data, str):
        return Text(data)
    if data == END:
        return Eos()
    message = unpack(data)
    match message["type"]:
        case "Text":
            return Text(field(message, "text", str))
        case "Eos":
            return Eos()
        case "Voice":
            raise MessageError("Voice: a voice's embeddings are not taken here: name one of the worker's in the query")
        case other:
            raise MessageError(f"{other[:40]!r} is no message of text to speech: send Text or Eos")


class Told:
    """Makes the messages of a session's replies, in order. No I/O.

    A word is told once the next one begins, when its end is known.

    Args:
        form: what the client wants.
    """

    def __init__(self, form: Format) -> None:
        self._form = form
        self._word: SpokenWord | None = None

    def ready(self, head: bytes = b"") -> list[bytes]:
        """The session has begun; `head` begins the stream of what is compressed."""
        return self._message(pack("Ready")) + ([self._sound(None, head)] if head else [])

    def error(self, sentence: str) -> list[bytes]:
        """What went wrong."""
        return self._message(pack("Error", message=sentence))

    def add(self, reply: Reply, pcm: Pcm | None, pages: bytes, now_s: float) -> Iterator[bytes]:
        """What the reply makes known: a word, and sound.

        Args:
            reply: each of the session's, in order.
            pcm: its sound, [frame_samples], where it has any.
            pages: the same, where it is compressed.
            now_s: seconds of sound up to the end of this reply's.
        """
        if reply.said is not None:
            yield from self._end_word(reply.said.start_s)
            self._word = reply.said
        if pcm is not None:
            yield self._sound(pcm, pages)
        if reply.said_all:
            yield from self._end_word(now_s)

    def _sound(self, pcm: Pcm | None, pages: bytes) -> bytes:
        match self._form:
            case Format.OGG_OPUS:
                return pages
            case Format.OGG_OPUS_MESSAGE_PACK:
                return pack("OggOpus", data=list(pages))  # so Rust's packer writes bytes, and its reader wants them
        assert pcm is not None, "only compressed sound has a head"
        return pack("Audio", pcm=pcm) if self._form.packed else pcm.astype(np.dtype("<f4")).tobytes()

    def _end_word(self, stop_s: float) -> list[bytes]:
        word, self._word = self._word, None
        if word is None:
            return []
        return self._message(pack("Text", text=word.text, start_s=word.start_s, stop_s=max(word.start_s, stop_s)))

    def _message(self, message: bytes) -> list[bytes]:
        return [message] if self._form.packed else []


def _number(query: Mapping[str, str], name: str, kind: type[N], least: N) -> N | None:
    if name not in query:
        return None
    try:
        value = kind(query[name])
    except (ValueError, OverflowError):
        value = None
    if value is None or not math.isfinite(value) or value < least:
        what = "a whole number" if kind is int else "a number"
        raise MessageError(f"{name}: expected {what} of {least} or more, got {query[name][:40]!r}")
    return value
