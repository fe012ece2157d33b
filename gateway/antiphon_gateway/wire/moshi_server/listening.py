"""`/api/asr-streaming`: what its clients send, and what they are told of a model that listens.

`Told` makes the messages of a session's replies. A client counts time in its own sound, and steps from its first frame:
of the silence that a session begins with it hears nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from antiphon.spec import ModelSpec
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.client.events import Reply
from antiphon_edge.transcript.words import Word, Words
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.moshi_server.packing import field, pack, samples, unpack

PAUSE_HEADS = 4
"""The published models have as many, for pauses of 0.5, 1, 2 and 3 s, and clients look at one by its index. A worker
tells of one alone, the one that the published clients take, and it stands for all."""

MOST_OPUS_BYTES = 1 << 16  # in a message: some 20 s as clients send it, a minute and a half at the most

READY = pack("Ready")


@dataclass(frozen=True, slots=True)
class Audio:
    """What the person says."""

    pcm: Pcm  # [N] at 24 kHz


@dataclass(frozen=True, slots=True)
class OggOpus:
    """The same, as part of an Ogg stream of Opus."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Marker:
    """Asks for itself back once all before it is transcribed."""

    id: int


def parse(data: bytes) -> Audio | OggOpus | Marker:
    """What a client says.

    Raises:
        MessageError: it is none of the messages; the sentence names the field.
        AntiphonError: its sound is none.
    """
    message = unpack(data)
    match message["type"]:
        case "Audio":
            return Audio(samples(message, "pcm"))
        case "OggOpus":
            return OggOpus(_bytes(message, "data"))
        case "Marker":
            return Marker(field(message, "id", int))
        case other:
            raise MessageError(f"{other[:40]!r} is no message of speech to text: send Audio, OggOpus or Marker")


def error(sentence: str) -> bytes:
    """What went wrong."""
    return pack("Error", message=sentence)


def as_json(word: Word) -> dict[str, Any]:
    """A word as a transcribed file has it: begun where its end is not known, ended otherwise."""
    if word.end_s is None:
        return {"type": "Word", "text": word.text, "start_time": word.start_s}
    return {"type": "EndWord", "stop_time": word.end_s}


class Told:
    """Makes the messages of a session's replies, in order. No I/O.

    Args:
        model: which listens.
        frame_s: seconds of a frame.
        lead_in_frames: of silence that went up before the client's first frame.
    """

    def __init__(self, model: ModelSpec, frame_s: float, lead_in_frames: int) -> None:
        self._words = Words(model, frame_s)
        self._lead_in_frames = lead_in_frames
        self._delay_steps = model.text_delay_ms // round(1000 * frame_s)
        self._markers: deque[tuple[int, int]] = deque()  # the step at which each is due, and its id

    def mark(self, marker: Marker, frames: int) -> None:
        """A marker came after so many of the client's frames, the one that is being filled included."""
        self._markers.append((frames + self._delay_steps, marker.id))

    def add(self, reply: Reply, waiting_samples: int) -> Iterator[bytes]:
        """What the reply makes known: the step, words, and markers.

        Args:
            reply: each of the session's, in order.
            waiting_samples: of sound that the client has sent and no step has heard.
        """
        step = reply.sequence + 1 - self._lead_in_frames
        if reply.pause is not None and step > 0:
            prs = np.full(PAUSE_HEADS, reply.pause, np.float32)
            yield pack("Step", step_idx=step, prs=prs, buffered_pcm=waiting_samples)
        for word in self._words.add(reply):
            message = as_json(word)
            yield pack(message.pop("type"), **message)
        while self._markers and self._markers[0][0] <= step:
            yield pack("Marker", id=self._markers.popleft()[1])


def _bytes(message: dict[str, Any], name: str) -> bytes:
    """A field that is binary, or a list of bytes, as Rust's packer writes it."""
    value = message.get(name)
    try:
        data = value if isinstance(value, bytes) else bytes(field(message, name, list))
    except (TypeError, ValueError):
        raise MessageError(f"{message['type']}.{name}: expected bytes") from None
    if len(data) > MOST_OPUS_BYTES:
        raise MessageError(f"{message['type']}.{name}: more than {MOST_OPUS_BYTES} bytes: send sound in shorter ones")
    return data
