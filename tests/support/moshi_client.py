"""The published command line `moshi.client` with a sound card of a test's: its code, its Opus, its threads."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import aiohttp
import numpy as np

from antiphon_edge.audio.pcm import Pcm
from tests.support.time_travel import until

FRAME = 1920


class _Card:
    """`sounddevice` as far as the client uses it: one stream in, one out."""

    def __init__(self, said: Pcm) -> None:
        self._said = said
        self.heard: list[Pcm] = []
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self.said_all = False

    def module(self) -> ModuleType:
        """What takes the place of `sounddevice`."""
        fake = ModuleType("sounddevice")
        fake.InputStream = lambda **options: _Stream(self, self._speak, options["callback"])  # type: ignore[attr-defined]
        fake.OutputStream = lambda **options: _Stream(self, self._listen, options["callback"])  # type: ignore[attr-defined]
        return fake

    def run(self, work: Callable[[Any], None], callback: Any) -> None:
        """Begins a stream's thread."""
        thread = threading.Thread(target=work, args=(callback,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def end(self) -> None:
        """Ends both."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _speak(self, callback: Any) -> None:
        for at in range(0, len(self._said) // FRAME * FRAME, FRAME):
            if self._ended.wait(0.002):
                return
            callback(self._said[at : at + FRAME].reshape(FRAME, 1), FRAME, None, None)
        self.said_all = True

    def _listen(self, callback: Any) -> None:
        while not self._ended.wait(0.001):
            out = np.full((FRAME, 1), np.nan, np.float32)
            callback(out, FRAME, None, None)
            if out.any():  # an empty queue is played as zeros, which nothing decoded is
                self.heard.append(out[:, 0].copy())


class _Stream:
    def __init__(self, card: _Card, work: Callable[[Any], None], callback: Any) -> None:
        self._card, self._work, self._callback = card, work, callback

    def __enter__(self) -> None:
        self._card.run(self._work, self._callback)

    def __exit__(self, *error: object) -> None:
        self._card.end()


@contextmanager
def _client(card: _Card) -> Iterator[ModuleType]:
    """`moshi.client`, without the package's own imports: the models of `moshi` want another torch."""
    found = importlib.util.find_spec("moshi")
    assert found is not None, "make test installs it"
    assert found.submodule_search_locations is not None
    package = ModuleType("moshi")
    package.__path__ = [str(Path(next(iter(found.submodule_search_locations))))]
    with mock.patch.dict(sys.modules, {"moshi": package, "sounddevice": card.module()}):
        yield importlib.import_module("moshi.client")


async def speak_with(url: str, said: Pcm) -> tuple[Pcm, str]:
    """What the client plays and prints when it is told samples [N]."""
    card, printed = _Card(said), io.StringIO()
    with _client(card) as module:
        printer = module.RawPrinter(stream=printed, err_stream=io.StringIO())
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            connection = module.Connection(printer, socket, asyncio.get_running_loop())
            running = asyncio.create_task(connection.run())
            enough = len(said) - 8 * FRAME
            await until(lambda: card.said_all and sum(map(len, card.heard)) >= enough, "the answer")
            await socket.close()
            await running
    return np.concatenate(card.heard), printed.getvalue()
