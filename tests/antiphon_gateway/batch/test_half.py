"""A batch of streams: each gets what it would get alone, to the bit, whoever shares the batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antiphon_edge import Codec
from antiphon_gateway.batch.half import LARGE_BYTES, BatchCodec, BatchHalf
from antiphon_number_clerk import NUMBER_CLERK

FRAMES, STREAMS = 12, 3


@pytest.fixture(params=["float32", "int8"])
def folder(request: pytest.FixtureRequest, tiny_codec: Path) -> Path:
    """Of a codec of either precision."""
    return tiny_codec if request.param == "float32" else NUMBER_CLERK / "codec"


def frames_up(codec: Codec, streams: int, random: np.random.Generator) -> list[Any]:
    """Sound of very different loudness, so that a product that quantizes by the range would tell."""
    loudness = 10 ** random.uniform(-3, -0.5, (streams, 1))
    noise = random.standard_normal((streams, codec.spec.frame_samples)) * loudness
    return list(noise.clip(-1, 1).astype(np.float32))


def frames_down(codec: Codec, streams: int, random: np.random.Generator) -> list[Any]:
    return list(random.integers(0, codec.spec.cardinality, (streams, codec.spec.codebooks)))


HALVES: dict[str, Callable[[Codec, int, np.random.Generator], list[Any]]] = {
    "encoder": frames_up,
    "decoder": frames_down,
}


@pytest.mark.parametrize("half", HALVES)
def test_each_stream_gets_what_it_would_get_alone(folder: Path, half: str) -> None:
    """In batches of any number and order, between steps alone."""
    codec, random = Codec.load(folder), np.random.default_rng(0)
    batch = BatchHalf(folder, getattr(codec.manifest, half), STREAMS)
    alone, together = ([getattr(codec, half)() for _ in range(STREAMS)] for _ in range(2))
    for number in range(FRAMES):
        chosen = random.permutation(STREAMS)[: random.integers(1, STREAMS + 1)]
        frames = HALVES[half](codec, len(chosen), random)
        expected = [alone[stream].step(frame) for stream, frame in zip(chosen, frames, strict=True)]
        if number % 4 == 3:
            found = [together[stream].step(frame) for stream, frame in zip(chosen, frames, strict=True)]
        else:
            for stream, frame in zip(chosen, frames, strict=True):
                together[stream].put(frame)
            batch.advance([together[stream].stream for stream in chosen])
            found = [together[stream].take() for stream in chosen]
        np.testing.assert_array_equal(found, expected)


def test_a_stream_that_begins_again_does_so_in_a_batch_too(tiny_codec: Path) -> None:
    codec, random = Codec.load(tiny_codec), np.random.default_rng(1)
    batch = BatchHalf(tiny_codec, codec.manifest.encoder, 2)
    alone, together = codec.encoder(restart=True), codec.encoder(restart=True)
    for _ in range(3):
        (frame,) = frames_up(codec, 1, random)
        together.put(frame)
        batch.advance([together.stream])
        np.testing.assert_array_equal(together.take(), alone.step(frame))


def test_a_batch_of_nobody_does_nothing(tiny_codec: Path) -> None:
    batch = BatchHalf(tiny_codec, Codec.load(tiny_codec).manifest.encoder, 2)
    batch.advance([])


def test_only_a_codec_that_the_caches_cannot_hold_is_stepped_in_batches(
    tiny_codec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Codec.load(tiny_codec).manifest
    assert manifest.encoder.size_bytes < LARGE_BYTES
    assert BatchCodec.load(tiny_codec, manifest) == BatchCodec(None, None)
    monkeypatch.setattr("antiphon_gateway.batch.half.LARGE_BYTES", 0)
    loaded = BatchCodec.load(tiny_codec, manifest)
    assert loaded.encoder is not None
    assert loaded.decoder is not None
