"""A telephone call through Asterisk's AudioSocket: a simulated peer says numbers to the number clerk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import numpy as np
import pytest

from antiphon.address import split_address
from antiphon_gateway.doors.telephony import audiosocket
from antiphon_gateway.server.config import Doors
from antiphon_gateway.server.process import Server
from antiphon_gateway.wire.audiosocket import HEADER, Framer, Sound, hang_up, sound
from tests.support.gateways import gateway, utterances
from tests.support.telephones import Caller, all_at_work, overheard
from tests.support.time_travel import Clock
from tools.harness.worker_process import Worker

CALL = UUID("40325ec2-5efd-4bd3-805f-53576e581d13")
FEW = 5  # utterances tell a door that does not work; Twilio's has all twenty
SILENCE = np.zeros(160, np.float32)
DOORS = Doors(audiosocket="127.0.0.1:0")


def identity(name: UUID) -> bytes:
    """The first message of a call."""
    return HEADER.pack(1, 16) + name.bytes


IDENTITY = identity(CALL)


@pytest.fixture
async def served(clerk: Worker) -> AsyncIterator[Server]:
    async with gateway([clerk.address], doors=DOORS) as server:
        yield server


class Asterisk:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._framer = Framer()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def hear(self) -> list[Sound]:
        """What has come by now, at least something."""
        sounds: list[Sound] = []
        while not sounds:
            data = await asyncio.wait_for(self._reader.read(1 << 16), 60)
            assert data, "the gateway has hung up"
            for message in self._framer.feed(data):
                assert isinstance(message, Sound), message
                sounds.append(message)
        return sounds

    async def last_words(self) -> bytes:
        """The end of what comes until the gateway closes."""
        return (await asyncio.wait_for(self._reader.read(-1), 60))[-3:]

    async def hung_up(self) -> bool:
        """Whether the gateway hangs up, and says nothing else before."""
        return await asyncio.wait_for(self._reader.read(-1), 60) == hang_up()


@asynccontextmanager
async def asterisk(server: Server) -> AsyncIterator[Asterisk]:
    """A connection, until the block ends."""
    host, port = split_address(server.tcp_addresses["AudioSocket"])
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield Asterisk(reader, writer)
    finally:
        writer.close()


async def talk(peer: Asterisk) -> None:
    """Says nothing until something is heard."""
    hearing = asyncio.create_task(peer.hear())
    while not hearing.done():
        await peer.send(sound(8_000, SILENCE))
        await asyncio.sleep(0.005)
    assert hearing.result()


async def carry(server: Server, name: UUID, caller: Caller) -> None:
    """Carries a call to the end of what its caller says."""
    async with asterisk(server) as peer:

        async def say() -> None:
            await peer.send(identity(name))
            async for packet in caller.packets():
                await peer.send(sound(caller.rate_hz, packet))

        async def hear() -> None:
            heard = 0
            while heard < len(caller.says) - caller.rate_hz:
                for each in await peer.hear():
                    assert each.rate_hz == caller.rate_hz
                    heard += len(each.pcm)
                    assert heard <= caller.said
                    caller.hears(each.pcm)

        async with asyncio.TaskGroup() as both:
            both.create_task(say())
            both.create_task(hear())
        await peer.send(hang_up())


@pytest.mark.parametrize("rate_hz", [8_000, 24_000])
async def test_people_are_answered_with_their_digits(served: Server, rate_hz: int) -> None:
    callers = {uuid4(): Caller(utterance, rate_hz) for utterance in utterances()[:FEW]}
    with overheard({f"the call {name}": caller for name, caller in callers.items()}):
        await all_at_work([carry(served, name, caller) for name, caller in callers.items()])
    assert all(caller.is_understood for caller in callers.values())
    assert sum(caller.hears_its_digits for caller in callers.values()) >= FEW - 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GET / HTTP/1.1\r\n" + b"x" * 20_000, "messages of kind 0x47 are not known"),
        (sound(8_000, SILENCE), "sound came before the call's UUID"),
        (
            IDENTITY + sound(8_000, SILENCE) + sound(16_000, SILENCE),
            "sound at 16000 Hz in a call that began at 8000 Hz",
        ),
        (IDENTITY + b"\x10\x00\x03abc", "sound of 3 bytes"),
        (IDENTITY + b"\xff\x00\x01\x04", "Asterisk tells of its error 0x04"),
    ],
    ids=["a browser", "no UUID", "another rate", "half a sample", "a failure"],
)
async def test_what_asterisk_would_not_say_hangs_up_and_the_log_says_why(
    served: Server, caplog: pytest.LogCaptureFixture, data: bytes, words: str
) -> None:
    with caplog.at_level(logging.WARNING):
        async with asterisk(served) as peer:
            await peer.send(data)
            assert await peer.hung_up()
    assert words in caplog.text


async def test_a_hang_up_amid_a_message_ends_the_call(served: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with asterisk(served) as peer:
            await peer.send(IDENTITY + sound(8_000, SILENCE)[:100])
            peer._writer.write_eof()
            assert await peer.hung_up()
    assert "the connection ended amid a message" in caplog.text


async def test_a_telephone_that_is_silent_for_long_is_hung_up(
    served: Server, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    with caplog.at_level(logging.WARNING):
        async with asterisk(served) as peer:
            await peer.send(IDENTITY)
            await clock.outlast(audiosocket.IDLE_S)
            assert await peer.hung_up()
    assert f"nothing came for {audiosocket.IDLE_S:g} s" in caplog.text


async def test_a_hang_up_before_any_sound_is_no_call(served: Server) -> None:
    async with asterisk(served) as peer:
        await peer.send(IDENTITY + hang_up())
        assert await peer.hung_up()


async def test_without_a_free_place_the_dialplan_goes_on(clerk: Worker, caplog: pytest.LogCaptureFixture) -> None:
    async with gateway([clerk.address], doors=DOORS, calls=1) as server, asterisk(server) as first:
        await first.send(IDENTITY)
        await talk(first)
        async with asterisk(server) as second:
            await second.send(IDENTITY + sound(8_000, SILENCE))
            assert await second.hung_up()
    assert "all 1 places of this gateway are taken" in caplog.text


async def test_a_gateway_that_ends_hangs_up(clerk: Worker) -> None:
    async with gateway([clerk.address], doors=DOORS) as server, asterisk(server) as peer:
        await peer.send(IDENTITY)
        await talk(peer)
        await server._stack.aclose()
        assert await peer.last_words() == hang_up()
