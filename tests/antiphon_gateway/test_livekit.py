"""LiveKit's plugin itself against the door, in the Python of its own that has it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon_gateway.server.process import Server
from antiphon_gateway.wire.pcm16 import pcm_from_bytes, pcm_to_bytes
from tests.support.gateways import RATE_HZ, Listener, gateway, utterances
from tests.support.time_travel import NET_S
from tools import ROOT
from tools.harness.worker_process import Worker

PYTHON = ROOT / ".venv" / "livekit" / "bin" / "python"
PEER = ROOT / "tests" / "support" / "livekit_peer.py"
Told = dict[str, Any]


class Peer:
    """The plugin's process against a gateway.

    Args:
        folder: for its sound.
        server: the gateway.
    """

    def __init__(self, folder: Path, server: Server) -> None:
        self._folder, self.server = folder, server
        self.told: list[Told] = []

    async def play(self, scene: str, said: bytes, on_told: Callable[[Told], None] = lambda told: None) -> None:
        """One scene, to its end; `on_told` is called with all that the plugin tells."""
        assert PYTHON.exists(), "make test builds it: make .venv/livekit/installed"
        files = self._folder / "said", self._folder / "heard"
        files[0].write_bytes(said)
        process = await asyncio.create_subprocess_exec(
            PYTHON, PEER, self.server.address, scene, *files, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(NET_S):
                async for line in process.stdout:
                    self.told.append(json.loads(line))
                    on_told(self.told[-1])
                complaints = (await process.stderr.read()).decode()
                assert await process.wait() == 0, complaints
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def of(self, kind: str) -> list[Told]:
        """What was told of a kind."""
        return [told for told in self.told if told["kind"] == kind]

    def texts(self) -> list[str]:
        """The transcripts of what was heard."""
        return [told["text"].strip() for told in self.of("heard")]

    def items(self) -> list[list[str]]:
        """Whose each item of the conversation is, and its text, as the plugin has them in the end."""
        items: list[list[str]] = self.of("end")[0]["items"]
        return items

    def digits(self) -> tuple[str, ...]:
        """The digits in the sound, by ear."""
        listener = Listener()
        samples, begun = pcm_from_bytes((self._folder / "heard").read_bytes()), 0
        for word in self.of("word"):
            listener.sound(samples[begun : word["samples"]])
            listener.read(word["text"])
            begun = word["samples"]
        listener.sound(samples[begun:])
        return listener.digits()


@pytest.fixture
async def peer(clerk: Worker, tmp_path: Path) -> AsyncIterator[Peer]:
    async with gateway([clerk.address]) as server:
        yield Peer(tmp_path, server)


async def test_the_plugin_hears_the_answer_and_has_the_conversation_in_its_order(peer: Peer) -> None:
    utterance = utterances()[3]
    await peer.play("converse", pcm_to_bytes(utterance.samples))
    assert peer.texts() == ["ready", utterance.answer]
    assert peer.digits() == utterance.digits
    *before, last = peer.items()
    assert sorted(before) == [["assistant", "ready"], ["user", ""]]  # a file is said before the greeting is heard
    assert last == ["assistant", utterance.answer]
    assert peer.of("input_speech_started")
    assert peer.of("input_speech_stopped")
    assert not peer.of("error")


async def test_what_is_written_into_the_conversation_is_said_once_a_reply_is_asked_for(peer: Peer) -> None:
    text = "you said one two three"
    await peer.play("write", text.encode())
    assert [told["asked_for"] for told in peer.of("begun")] == [True]
    assert peer.texts() == [text]
    assert peer.of("heard")[0]["samples"] > RATE_HZ
    assert not peer.of("error")
    assert peer.items() == [["user", text], ["assistant", text]]


async def test_a_reply_is_interrupted_and_the_person_who_speaks_is_answered(peer: Peer) -> None:
    utterance = utterances()[3]
    await peer.play("interrupt", pcm_to_bytes(utterance.samples))
    assert [told["cancelled"] for told in peer.of("done")] == [True, False]
    assert peer.texts()[-1] == utterance.answer
    assert peer.items() == []
    assert not peer.of("error")


async def test_a_plugin_that_connects_again_is_not_read_its_own_past(peer: Peer) -> None:
    utterance = utterances()[3]

    def cut(told: Told) -> None:
        if told["kind"] == "answered":
            for socket in peer.server.gateway.sockets:
                assert socket._req is not None
                assert socket._req.transport is not None
                socket._req.transport.close()

    await peer.play("reconnect", pcm_to_bytes(utterance.samples), cut)
    assert peer.texts() == 2 * ["ready", utterance.answer]
    assert len(peer.of("session_reconnected")) == 1
    assert [text for _, text in peer.items() if text] == 2 * ["ready", utterance.answer]
