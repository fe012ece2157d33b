"""Specs mirror their messages, and a frame is as small as the contract promises."""

import dataclasses
from typing import Any

import pytest

from antiphon.errors import ProtocolError
from antiphon.spec import CodecSpec, Limits, ModelSpec, Sampling
from antiphon.v1 import dialogue_pb2 as pb

MODEL = ModelSpec("moshi-tiny", "moshi", 8, 8, 2048, 256, 1, 40, Sampling(0.7, 25, 0.8, 250), "float32", True)
CODEC = CodecSpec(b"\x01" * 32, 24_000, 1920, 8, 2048)


@pytest.mark.parametrize("spec", [MODEL, CODEC, Limits(max_sessions=4), Sampling()])
def test_a_spec_survives_the_wire(spec: ModelSpec | CodecSpec | Limits | Sampling) -> None:
    message = spec.to_message()
    kind: Any = type(spec)
    assert kind.from_message(type(message).FromString(message.SerializeToString())) == spec


@pytest.mark.parametrize("spec", [ModelSpec, CodecSpec, Limits, Sampling])
def test_a_spec_has_every_field_of_its_message(spec: type) -> None:
    message = pb.DESCRIPTOR.message_types_by_name[spec.__name__]
    assert [field.name for field in message.fields] == [field.name for field in dataclasses.fields(spec)]


@pytest.mark.parametrize(
    ("spec", "name", "value"),
    [
        (MODEL, "model_codebooks", 1 << 31),
        (MODEL, "cardinality", 0),
        (MODEL, "delay_steps", 1 << 31),
        (MODEL, "silence_after_ms", 1 << 31),
        (CODEC, "sample_rate_hz", 0),
        (CODEC, "frame_samples", 1 << 31),
    ],
)
def test_a_number_that_cannot_be_is_refused(spec: ModelSpec | CodecSpec, name: str, value: int) -> None:
    message = spec.to_message()
    setattr(message, name, value)
    kind: Any = type(spec)
    with pytest.raises(ProtocolError, match=rf"^(model|codec)\.{name} {value}, which must be \d+ to \d+$"):
        kind.from_message(message)


def test_a_name_shows_nothing_but_itself() -> None:
    message = MODEL.to_message()
    message.name = "moshi\x1b]0;title\x07\n"
    assert ModelSpec.from_message(message).name == "moshi]0;title"


def test_a_frame_is_80_ms() -> None:
    assert CODEC.frame_s == 0.08


def test_a_frame_up_takes_13_bytes() -> None:
    assert len(pb.ConverseRequest(codes=bytes(11)).SerializeToString()) == 13
    assert len(pb.ConverseRequest(codes=bytes(11), sequence=1000).SerializeToString()) == 16
