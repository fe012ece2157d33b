"""Pages of an Ogg stream (RFC 3533): packets in, pages out, and back, a piece of a stream at a time.

Libraries that write Ogg gather packets until a page is full; a conversation needs a page of each frame.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from antiphon_gateway.errors import MessageError

CAPTURE = b"OggS"
HEADER = struct.Struct("<4sBBqIIIB")  # capture, version, flags, granule, serial, sequence, checksum, segments
CONTINUED, FIRST, LAST = 1, 2, 4
MOST_SEGMENTS = 255
FULL = 255  # a segment that another one of its packet follows
LONGEST_PACKET = 1 << 16  # far beyond Opus' 1,275 bytes a frame
_MIRRORED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def checksum(page: bytes) -> int:
    """The CRC of a page whose checksum is zero: polynomial 0x04c11db7, begun with 0.

    That is zlib's CRC with the bits of each byte and of the result the other way round.
    """
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")


@dataclass(slots=True)
class PageWriter:
    """Writes one logical stream.

    Args:
        serial: names the stream.
    """

    serial: int
    _sequence: int = 0

    def page(self, packets: Sequence[bytes], granule: int, *, last: bool = False) -> bytes:
        """A page of whole packets; the first page begins the stream.

        Args:
            packets: of at most 255 segments together, which is 64 kB.
            granule: position at the page's end.
            last: whether it ends the stream.
        """
        lengths = bytes(length for packet in packets for length in _lacing(len(packet)))
        assert len(lengths) <= MOST_SEGMENTS, "packets of one page"
        flags = (FIRST if self._sequence == 0 else 0) | (LAST if last else 0)
        head = HEADER.pack(CAPTURE, 0, flags, granule, self.serial, self._sequence, 0, len(lengths))
        page = head + lengths + b"".join(packets)
        self._sequence += 1
        return page[:22] + struct.pack("<I", checksum(page)) + page[26:]


def _lacing(length: int) -> Iterator[int]:
    yield from (FULL for _ in range(length // FULL))
    yield length % FULL


class PageReader:
    """Reads the packets of a stream that comes in pieces of any size; a new stream may follow the last.

    What is no page is passed over up to the next one. A page that was damaged, or lost, takes the packet with it that
    it cuts, and nothing else.
    """

    def __init__(self) -> None:
        self._data = b""
        self._packet = b""  # begun on the last page
        self._whole = True  # nothing of that packet is missing
        self._next: tuple[int, int] | None = None  # serial and sequence of the page that should come

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The packets that `data` completes.

        Raises:
            MessageError: a packet is too long to be one of Opus.
        """
        self._data += data
        while (page := self._take()) is not None:
            yield from self._packets(page)

    def _take(self) -> bytes | None:
        """The next whole page, checked."""
        while True:
            start = self._data.find(CAPTURE)
            self._data = self._data[start:] if start >= 0 else self._data[-len(CAPTURE) + 1 :]
            if start < 0 or len(self._data) < HEADER.size:
                return None
            table_end = HEADER.size + self._data[HEADER.size - 1]
            end = table_end + sum(self._data[HEADER.size : table_end])
            if len(self._data) < max(table_end, end):
                return None
            page = self._data[:end]
            (told,) = struct.unpack_from("<I", page, 22)
            if page[4] == 0 and checksum(page[:22] + bytes(4) + page[26:]) == told:
                self._data = self._data[end:]
                return page
            self._data = self._data[1:]

    def _packets(self, page: bytes) -> Iterator[bytes]:
        _, _, flags, _, serial, sequence, _, segments = HEADER.unpack_from(page)
        continues = bool(flags & CONTINUED) and (serial, sequence) == self._next
        if not continues:
            self._packet, self._whole = b"", not flags & CONTINUED
        self._next = (serial, sequence + 1)
        at = HEADER.size + segments
        for length in page[HEADER.size : HEADER.size + segments]:
            self._packet += page[at : at + length]
            at += length
            if len(self._packet) > LONGEST_PACKET:
                raise MessageError(f"a packet of more than {LONGEST_PACKET} bytes: send Opus in Ogg")
            if length < FULL:
                if self._whole:
                    yield self._packet
                self._packet, self._whole = b"", True
