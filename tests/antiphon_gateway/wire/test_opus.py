"""Opus in Ogg: what is heard of what was said, and what damaged sound costs."""

from __future__ import annotations

import importlib.util
import platform

import numpy as np
import pytest

from antiphon_edge.audio.pcm import Pcm
from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.ogg import PageWriter
from antiphon_gateway.wire.opus import HEAD, OpusReader, OpusWriter
from tests.support.gateways import utterances
from tests.support.stereo import stereo_at_48_khz

RATE_HZ = 24_000
LATEST_S = 0.04  # Opus' own delay and a resampler's
EARLIEST_S = 0.1  # what a stream's beginning may be cut by, as its head says


def speech() -> Pcm:
    """A person's words of the clerk's test."""
    said = utterances()[3]
    start = int(said.start_s * RATE_HZ)
    return said.samples[start : start + 2 * RATE_HZ]


def written(samples: Pcm) -> list[bytes]:
    writer = OpusWriter(RATE_HZ)
    return [writer.head(), *(writer.write(samples[at : at + 1920]) for at in range(0, len(samples), 1920))]


def alike(heard: Pcm, said: Pcm) -> float:
    """The highest correlation within the shift that may be."""
    middle = said[4800:-4800]
    shifts = range(-int(EARLIEST_S * RATE_HZ), int(LATEST_S * RATE_HZ), 4)
    return max(float(np.corrcoef(heard[4800 + shift :][: len(middle)], middle)[0, 1]) for shift in shifts)


def test_what_is_said_is_heard_within_40_ms() -> None:
    pages, reader = written(speech()), OpusReader(RATE_HZ)
    heard = np.concatenate([reader.feed(page) for page in pages])
    assert len(heard) > len(speech()) - LATEST_S * RATE_HZ
    assert alike(heard, speech()) > 0.95


def test_a_packet_brings_as_much_as_it_lasts() -> None:
    head, *pages = written(speech())
    reader, heard = OpusReader(RATE_HZ), 0
    reader.feed(head)
    for number, page in enumerate(pages, 1):
        heard += len(reader.feed(page))
        assert number * 1920 <= heard < number * 1920 + 240


def test_every_frame_is_a_page_of_its_own_that_comes_at_once() -> None:
    head, *pages = written(speech())
    assert head.count(b"OggS") == 2
    assert {page.count(b"OggS") for page in pages} == {1}


def test_what_is_short_of_a_packet_waits() -> None:
    writer = OpusWriter(RATE_HZ)
    assert writer.write(np.zeros(479, np.float32)) == b""
    assert writer.write(np.zeros(1, np.float32))


def test_a_stereo_stream_at_48_khz_is_heard_in_its_first_channel() -> None:
    tone = (0.25 * np.sin(np.arange(RATE_HZ) * 2 * np.pi * 500 / RATE_HZ)).astype(np.float32)
    reader = OpusReader(RATE_HZ)
    heard = np.concatenate([reader.feed(pages) for pages in stereo_at_48_khz(tone)])
    level = float(np.sqrt(np.mean(heard[12_000:] ** 2)))
    assert level == pytest.approx(0.25 / np.sqrt(2), rel=0.2)


def test_a_packet_that_is_no_opus_is_lost_and_the_stream_goes_on() -> None:
    head, *pages = written(speech())
    other, reader = PageWriter(9), OpusReader(RATE_HZ)
    assert len(reader.feed(head)) == 0
    assert len(reader.feed(other.page([b"\xff" * 40], 0))) in range(2_881)
    assert len(reader.feed(pages[0] + pages[1])) > 1_000


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (PageWriter(1).page([b"\x08 sound"], 0), "begins without an Ogg page of OpusHead"),
        (PageWriter(1).page([HEAD + b"\x01\x07" + bytes(9)], 0), "one or two channels"),
        (PageWriter(1).page([HEAD], 0), "one or two channels"),
    ],
)
def test_a_stream_that_cannot_be_heard_is_refused_in_a_sentence(stream: bytes, words: str) -> None:
    with pytest.raises(MessageError, match=words):
        OpusReader(RATE_HZ).feed(stream)


def test_what_is_left_of_another_stream_is_passed_over_where_that_is_asked_for() -> None:
    head, *pages = written(speech())
    reader = OpusReader(RATE_HZ, skip_to_head=True)
    assert len(reader.feed(pages[3])) == 0
    assert len(reader.feed(head + pages[0])) > 0


@pytest.mark.skipif(
    platform.machine() != "x86_64" and importlib.util.find_spec("sphn") is None,
    reason="sphn has no wheel for this machine",
)
def test_the_reference_clients_library_hears_us_and_we_hear_it() -> None:
    import sphn

    pages, theirs = written(speech()), sphn.OpusStreamReader(RATE_HZ)
    heard = np.concatenate([theirs.append_bytes(page) for page in pages])
    assert alike(heard, speech()) > 0.95
    writer, ours = sphn.OpusStreamWriter(RATE_HZ), OpusReader(RATE_HZ)
    blocks = [speech()[at : at + 1920] for at in range(0, len(speech()), 1920)]
    heard = np.concatenate([ours.feed(bytes(writer.append_pcm(block))) for block in blocks])
    assert alike(heard, speech()) > 0.85  # it encodes for telephony, which bends the wave
