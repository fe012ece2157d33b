"""The formats in which protocols of JSON carry sound: PCM of 16 bits, G.711, and Ogg-Opus, all in base64.

Each is two small machines for one stream: bytes to samples and back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from antiphon_edge.audio.pcm import Pcm
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.g711 import A_LAW, G711, MU_LAW
from antiphon_gateway.wire.g711 import RATE_HZ as TELEPHONE_HZ
from antiphon_gateway.wire.opus import OpusReader, OpusWriter
from antiphon_gateway.wire.pcm16 import pcm_from_bytes, pcm_to_bytes

WIDE_HZ = 24_000


class Reading(Protocol):
    """Bytes to samples."""

    def __call__(self, data: bytes, /) -> Pcm:
        """The samples [N] of the next bytes."""


class Writing(Protocol):
    """Samples to bytes."""

    def __call__(self, pcm: Pcm, /) -> bytes:
        """The bytes of the next samples [N]; none where a packet is not full."""


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Args:
        name: as OpenAI's GA API has it.
        beta_name: as its beta had it.
        rate_hz: of its samples.
        reader: begins to read a stream.
        writer: begins to write one.
    """

    name: str
    beta_name: str
    rate_hz: int
    reader: Callable[[], Reading]
    writer: Callable[[], Writing]


def _law(law: G711) -> tuple[Callable[[], Reading], Callable[[], Writing]]:
    return lambda: law.decode, lambda: law.encode


def _opus_writer() -> Writing:
    writer = OpusWriter(WIDE_HZ)
    head = [writer.head()]  # goes before the first page

    def write(pcm: Pcm) -> bytes:
        page = writer.write(pcm)
        return head.pop() + page if page and head else page

    return write


PCM16 = Format("audio/pcm", "pcm16", WIDE_HZ, lambda: pcm_from_bytes, lambda: pcm_to_bytes)
PCMU = Format("audio/pcmu", "g711_ulaw", TELEPHONE_HZ, *_law(MU_LAW))
PCMA = Format("audio/pcma", "g711_alaw", TELEPHONE_HZ, *_law(A_LAW))
OPUS = Format("audio/opus", "opus", WIDE_HZ, lambda: OpusReader(WIDE_HZ, skip_to_head=True).feed, _opus_writer)
FORMATS = (PCM16, PCMU, PCMA, OPUS)


def format_named(name: object) -> Format:
    """The format of a name, of either API.

    Raises:
        MessageError: there is no such format.
    """
    for each in FORMATS:
        if name in (each.name, each.beta_name):
            return each
    raise MessageError(f"audio format {str(name)[:40]!r}: use one of {', '.join(each.name for each in FORMATS)}")
