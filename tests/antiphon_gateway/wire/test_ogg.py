"""Ogg pages: whatever is written is read, in pieces of any size, and damage costs what it touches."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.ogg import LONGEST_PACKET, PageReader, PageWriter, checksum
from antiphon_gateway.wire.opus import OpusWriter

PACKETS = st.lists(st.binary(max_size=600), min_size=1, max_size=8)


def pages(packets: list[bytes], serial: int = 7) -> list[bytes]:
    """A page of each packet."""
    writer = PageWriter(serial)
    return [writer.page([packet], 960 * number) for number, packet in enumerate(packets)]


@given(PACKETS, st.integers(1, 400))
def test_whatever_is_written_is_read_in_pieces_of_any_size(packets: list[bytes], size: int) -> None:
    stream, reader = b"".join(pages(packets)), PageReader()
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert [packet for piece in pieces for packet in reader.feed(piece)] == packets


@given(PACKETS, PACKETS)
def test_several_packets_share_a_page_and_another_stream_may_follow(first: list[bytes], second: list[bytes]) -> None:
    stream = PageWriter(1).page(first, 0) + PageWriter(2).page(second, 0)
    assert list(PageReader().feed(stream)) == first + second


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=3, max_size=6), st.data())
def test_a_damaged_page_costs_itself_and_nothing_after_it(packets: list[bytes], data: st.DataObject) -> None:
    written = pages(packets)
    damaged = bytearray(written[1])
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    read = list(PageReader().feed(written[0] + bytes(damaged) + b"".join(written[2:]) + b"OggS" + bytes(70_000)))
    assert read == [packets[0], *packets[2:]]


def test_half_a_page_brings_nothing_until_the_other_half_comes() -> None:
    (page,) = pages([b"a packet"])
    reader = PageReader()
    assert list(reader.feed(page[:20])) == []
    assert list(reader.feed(page[20:])) == [b"a packet"]


def test_a_packet_over_two_pages_is_whole_and_without_its_first_page_is_none() -> None:
    def continued(flags: int, sequence: int, lacing: bytes, body: bytes) -> bytes:
        head = b"OggS" + bytes((0, flags)) + bytes(8) + (7).to_bytes(4, "little") + sequence.to_bytes(4, "little")
        page = head + bytes(4) + bytes((len(lacing),)) + lacing + body
        return page[:22] + checksum(page).to_bytes(4, "little") + page[26:]

    first = continued(0, 4, bytes((255,)), b"a" * 255)
    second = continued(1, 5, bytes((3, 2)), b"bcd" + b"ef")
    assert list(PageReader().feed(first + second)) == [b"a" * 255 + b"bcd", b"ef"]
    assert list(PageReader().feed(second)) == [b"ef"]


def test_a_packet_without_an_end_is_refused_before_it_fills_the_memory() -> None:
    reader = PageReader()

    def endless() -> None:
        for sequence in range(1 + LONGEST_PACKET // (255 * 255) + 1):
            head = b"OggS" + bytes((0, 1 if sequence else 2)) + bytes(8) + bytes(4) + sequence.to_bytes(4, "little")
            page = head + bytes(4) + bytes((255,)) + bytes([255]) * 255 + bytes(255 * 255)
            assert list(reader.feed(page[:22] + checksum(page).to_bytes(4, "little") + page[26:])) == []

    with pytest.raises(MessageError, match=f"more than {LONGEST_PACKET} bytes"):
        endless()


def test_ffmpeg_takes_the_pages_for_an_ogg_file() -> None:
    writer = OpusWriter(24_000)
    stream = writer.head() + b"".join(writer.write(np.zeros(1920, np.float32)) for _ in range(10))
    with av.open(io.BytesIO(stream), "r") as file:
        assert (file.format.name, file.streams.audio[0].codec_context.name) == ("ogg", "opus")
        decoded = sum(frame.samples for frame in file.decode(audio=0))
    assert 38_400 - 960 <= decoded <= 38_400
