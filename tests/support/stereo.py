"""Ogg-Opus as other clients than ours may send it."""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np
import soxr

from antiphon_edge.audio.pcm import Pcm
from antiphon_gateway.wire.ogg import PageWriter
from tests.support.gateways import RATE_HZ

STEREO_HZ, PACKET = 48_000, 960


def stereo_at_48_khz(samples: Pcm) -> Iterator[bytes]:
    """Samples [N] at 24 kHz as an Ogg stream of 48 kHz in stereo, whose second channel is silent, page by page."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = STEREO_HZ, "stereo", "s16"
    encoder.open()
    pages = PageWriter(1)
    yield pages.page([bytes(encoder.extradata or b"")], 0) + pages.page([b"OpusTags" + bytes(8)], 0)
    left = np.clip(soxr.resample(samples, RATE_HZ, STEREO_HZ) * 32_767, -32_768, 32_767).astype(np.int16)
    for at in range(0, len(left) - PACKET + 1, PACKET):
        both = np.stack([left[at : at + PACKET], np.zeros(PACKET, np.int16)], 1)
        frame = av.AudioFrame.from_ndarray(both.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.pts = STEREO_HZ, at
        for packet in encoder.encode(frame):
            yield pages.page([bytes(packet)], at)
