"""The workers that serve one model, and the codec that they share."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from antiphon.errors import PreconditionError
from antiphon.spec import CodecSpec, ModelSpec, Sampling
from antiphon_edge.client.connect import connect
from antiphon_edge.client.describe import describe
from antiphon_edge.client.events import Change
from antiphon_edge.client.reconnect import LIVE, PASSING, Reconnect
from antiphon_edge.client.session import Session
from antiphon_edge.codec.codec import Codec
from antiphon_edge.codec.pull import pull_codec
from antiphon_edge.transport.credentials import PLAINTEXT, Credentials
from antiphon_gateway.batch.half import ALONE, BatchCodec

OTHER_CODEC = "open.codec_fingerprint"  # what a worker's refusal begins with that serves another model since
PATIENCE_S = 60.0  # of a caller for a worker that goes on


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a caller wants of its session; `connect` says what each means. None leaves it to the model."""

    sampling: Sampling | None = None
    seed: int | None = None
    mode: str | None = None
    voice: str | tuple[str, ...] | None = None
    persona: str | None = None
    prompt_text: str | None = None
    conditions: Mapping[str, str] | None = None
    adapter: str | None = None

    def arguments(self) -> dict[str, Any]:
        """As `connect` takes them."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Fleet:
    """Workers of one model. Each session begins at the next of them, and goes on at any.

    Args:
        addresses: HOST:PORT of each.
        model: what they serve.
        codec: theirs.
        folder: of its files.
        batch: steps the codec for several sessions at once.
        voices: the names that a session may begin with.
        conditions: what a session may be told, by name, with the values of each.
        credentials: TLS and API key.
        cache: root of what is kept of codecs.
        reconnect: how long a session looks for another worker.
    """

    addresses: tuple[str, ...]
    model: ModelSpec
    codec: Codec
    folder: Path
    batch: BatchCodec = ALONE
    voices: tuple[str, ...] = ()
    credentials: Credentials = PLAINTEXT
    conditions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cache: Path | None = None
    reconnect: Reconnect = field(default_factory=lambda: replace(LIVE, patience_s=PATIENCE_S))
    _turn: itertools.count[int] = field(default_factory=itertools.count)

    @classmethod
    async def find(
        cls, addresses: Sequence[str], credentials: Credentials = PLAINTEXT, cache: Path | None = None
    ) -> Fleet:
        """Asks the workers in turn what they serve, and pulls the codec of the first that answers.

        Raises:
            UnavailableError: none answers.
            AntiphonError: what the worker says cannot be used.
        """
        for at, address in enumerate(addresses):
            try:
                told = await describe(address, credentials)
                folder = await pull_codec(address, cache, credentials=credentials)
            except PASSING:
                if at == len(addresses) - 1:
                    raise
            else:
                codec = await asyncio.to_thread(Codec.load, folder)
                batch = await asyncio.to_thread(BatchCodec.load, folder, codec.manifest)
                return cls(
                    tuple(addresses), told.model, codec, folder, batch, told.voices, credentials, told.conditions, cache
                )
        raise AssertionError("there is an address")

    @property
    def spec(self) -> CodecSpec:
        """The codec's."""
        return self.codec.spec

    @property
    def speaks(self) -> bool:
        """Whether the model makes sound."""
        return self.model.model_codebooks > 0

    @property
    def listens(self) -> bool:
        """Whether the model hears anybody."""
        return self.model.user_codebooks > 0

    def fitting(self, wanted: Wanted) -> Wanted:
        """The same without a voice or a persona that the model cannot take: a family's clients send them to every model
        of it."""
        return replace(
            wanted,
            voice=wanted.voice if self.model.takes_voice else None,
            persona=wanted.persona if self.model.takes_text and self.speaks else None,
        )

    @asynccontextmanager
    async def session(
        self, wanted: Wanted, on_change: Callable[[Change], None] = lambda change: None
    ) -> AsyncIterator[Session]:
        """A session on one of the workers; errors as `connect`."""
        first = next(self._turn) % len(self.addresses)
        turned = self.addresses[first:] + self.addresses[:first]
        async with AsyncExitStack() as stack:
            try:
                session = await stack.enter_async_context(self._connect(turned, wanted, on_change))
            except PreconditionError as error:
                if not str(error).startswith(OTHER_CODEC):
                    raise
                found = await Fleet.find(turned, self.credentials, self.cache)
                self.model, self.codec, self.folder, self.batch = found.model, found.codec, found.folder, found.batch
                self.voices, self.conditions = found.voices, found.conditions
                session = await stack.enter_async_context(self._connect(turned, wanted, on_change))
            yield session

    def _connect(
        self, addresses: Sequence[str], wanted: Wanted, on_change: Callable[[Change], None]
    ) -> AbstractAsyncContextManager[Session]:
        return connect(
            addresses,
            self.spec,
            credentials=self.credentials,
            reconnect=self.reconnect,
            on_change=on_change,
            **wanted.arguments(),
        )
