"""What a worker serves, without opening a session."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.plain_text import plain_line
from antiphon.spec import CodecSpec, ModelSpec
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.client.arguments import check_addresses
from antiphon_edge.transport.channel import open_channel
from antiphon_edge.transport.credentials import PLAINTEXT, Credentials

TIMEOUT_S = 10.0
LONGEST_NAME = 100
MOST_VOICES = 10_000


@dataclass(frozen=True, slots=True)
class Description:
    """A worker's model, its codec, and the voices that a session may begin with."""

    model: ModelSpec
    codec: CodecSpec
    voices: tuple[str, ...]


async def describe(address: str, credentials: Credentials = PLAINTEXT) -> Description:
    """Asks the worker at `address` what it serves.

    Raises:
        ArgumentError: `address` is no HOST:PORT.
        UnavailableError: nobody answers, or the worker is starting.
        ProtocolError: what the worker says cannot be.
    """
    check_addresses(address)
    async with open_channel(address, credentials) as stub:
        told: pb.GetModelResponse = await stub.GetModel(pb.GetModelRequest(), timeout=TIMEOUT_S)
    voices = tuple(plain_line(name)[:LONGEST_NAME] for name in told.voices[:MOST_VOICES])
    return Description(ModelSpec.from_message(told.model), CodecSpec.from_message(told.codec), voices)
