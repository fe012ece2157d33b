"""Opus in Ogg (RFC 6716, RFC 7845): samples to pages and back, with FFmpeg's binding of libopus."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from antiphon_edge.audio.pcm import BlockBuffer, Pcm, as_pcm, resampler
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.ogg import PageReader, PageWriter

DECODED_HZ = 48_000  # what every Opus stream decodes to
PACKET_MS = 20
COMPLEXITY = "5"  # of 10: a third of the time, and as near to the original at a fifth more bits
HEAD, TAGS = b"OpusHead", b"OpusTags"
HEAD_BYTES = 19
RESAMPLER_S = 0.006  # that it holds back
VENDOR = b"antiphon"


class OpusWriter:
    """Samples to a stream of pages, each of what was given at once. For one thread.

    Args:
        rate_hz: of the samples; 8, 12, 16, 24 or 48 kHz.
        bit_rate: bits a second.
    """

    def __init__(self, rate_hz: int, bit_rate: int = 48_000) -> None:
        self._encoder = _encoder(rate_hz, bit_rate)
        self._packet = rate_hz * PACKET_MS // 1000
        self._rate_hz = rate_hz
        self._buffer = BlockBuffer()
        self._pages = PageWriter(secrets.randbits(32))
        self._time_base = Fraction(1, rate_hz)
        self._granule = 0  # in samples at 48 kHz, as RFC 7845 counts whatever the rate
        self._time = 0

    def head(self) -> bytes:
        """The two pages that begin the stream."""
        extradata = self._encoder.extradata
        assert extradata is not None, "libopus tells its delay"
        tags = TAGS + struct.pack("<I", len(VENDOR)) + VENDOR + struct.pack("<I", 0)
        return self._pages.page([extradata], 0) + self._pages.page([tags], 0)

    def write(self, pcm: Pcm) -> bytes:
        """The page of all whole packets in what was given so far; nothing where there is none."""
        self._buffer.put(np.clip(pcm * 32_767, -32_768, 32_767))
        packets = [packet for block in self._buffer.frames(self._packet) for packet in self._encode(block)]
        if not packets:
            return b""
        self._granule += len(packets) * PACKET_MS * DECODED_HZ // 1000
        return self._pages.page(packets, self._granule)

    def _encode(self, block: Pcm) -> Iterator[bytes]:
        frame = av.AudioFrame(format="s16", layout="mono", samples=self._packet)
        frame.planes[0].update(block.astype(np.int16).tobytes())
        frame.sample_rate, frame.pts, frame.time_base = self._rate_hz, self._time, self._time_base
        self._time += self._packet
        for packet in self._encoder.encode(frame):
            yield bytes(packet)


def _encoder(rate_hz: int, bit_rate: int) -> Any:
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = rate_hz, "mono", "s16", bit_rate
    encoder.options = {"application": "audio", "frame_duration": str(PACKET_MS), "compression_level": COMPLEXITY}
    encoder.open()
    return encoder


class OpusReader:
    """A stream of pages, in pieces of any size, to mono samples. For one thread.

    Silence at its beginning makes up for what decoder and resampler hold back: a packet of 20 ms brings 20 ms, so that
    a frame of the model is whole when the packet that ends it is there, and does not wait for another.

    Channels beyond the first are left out: an average is silent where two are each other's inverse.

    Args:
        rate_hz: of the samples wanted, whatever the stream was made from.
        skip_to_head: pass over what comes before a stream begins, which is what is left of another one.
    """

    def __init__(self, rate_hz: int, *, skip_to_head: bool = False) -> None:
        self._skip_to_head = skip_to_head
        self._pages = PageReader()
        self._decoder: Any = None
        self._lead: Pcm = np.zeros(0, np.float32)
        self._resample = resampler(DECODED_HZ, rate_hz)
        self._rate_hz = rate_hz

    def feed(self, data: bytes) -> Pcm:
        """The samples [N] of all packets that `data` completes.

        Raises:
            MessageError: a stream that is not Opus, or sound before it has begun.
        """
        blocks: list[Pcm] = []
        decoded: list[Pcm] = []  # of the stream that goes on
        for packet in self._pages.feed(data):
            if packet[:8] == HEAD:
                blocks += self._resampled(decoded)
                decoded = []
                self._begin(packet)
            elif packet[:8] != TAGS:
                decoded += self._decode(packet)
        blocks += self._resampled(decoded)
        return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)

    def _decode(self, packet: bytes) -> list[Pcm]:
        if self._decoder is None:
            if self._skip_to_head:
                return []
            raise MessageError("the sound begins without an Ogg page of OpusHead: begin a new stream")
        try:
            frames = self._decoder.decode(av.Packet(packet))
        except (av.FFmpegError, ValueError):  # a packet that is damaged is lost, as on any network
            return []
        return list(map(_first_channel, frames))

    def _resampled(self, decoded: list[Pcm]) -> list[Pcm]:
        """All of it at once, and before the first of a stream its lead."""
        if not decoded:
            return []
        lead, self._lead = self._lead, self._lead[:0]
        return [lead, self._resample(np.concatenate(decoded))]

    def _begin(self, head: bytes) -> None:
        if len(head) < HEAD_BYTES or not 1 <= head[9] <= 2:
            raise MessageError("OpusHead: expected one of one or two channels: send mono")
        decoder = av.CodecContext.create("libopus", "r")
        decoder.extradata = head
        decoder.sample_rate = DECODED_HZ
        decoder.layout = "mono" if head[9] == 1 else "stereo"
        decoder.open()
        self._decoder = decoder
        self._resample = resampler(DECODED_HZ, self._rate_hz)
        skipped_s = int.from_bytes(head[10:12], "little") / DECODED_HZ  # FFmpeg drops it, as the head says
        self._lead = np.zeros(round((skipped_s + RESAMPLER_S) * self._rate_hz), np.float32)


def _first_channel(frame: Any) -> Pcm:
    samples = frame.to_ndarray()  # [1, N * channels] interleaved int16, or [channels, N] floats
    channels = len(frame.layout.channels)
    one = samples[0] if frame.format.is_planar else samples[0, ::channels]
    return as_pcm(one)
