"""The asyncio client: a session of codes up, codes and text down.

async with connect("localhost:50051", codec.spec) as session:
    await session.send(codes)  # [user_codebooks]
    async for reply in session: ...
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import numpy.typing as npt

from antiphon.spec import CodecSpec, Sampling
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.client.arguments import (
    check_addresses,
    check_conditions,
    check_mode,
    check_prompt,
    check_sampling,
    check_seed,
    check_type,
)
from antiphon_edge.client.carrier import Carrier
from antiphon_edge.client.events import Change
from antiphon_edge.client.reconnect import Reconnect
from antiphon_edge.client.session import Session
from antiphon_edge.transport.credentials import PLAINTEXT, Credentials
from antiphon_edge.transport.handshake import Opening


@asynccontextmanager
async def connect(
    address: str | Sequence[str],
    codec: CodecSpec,
    *,
    sampling: Sampling | None = None,
    seed: int | None = None,
    mode: pb.Mode | str | None = None,
    voice: str | Sequence[str] | npt.ArrayLike | None = None,
    persona: str | None = None,
    prompt_text: str | None = None,
    conditions: Mapping[str, str] | None = None,
    adapter: str | None = None,
    timings: bool = False,
    credentials: Credentials = PLAINTEXT,
    reconnect: Reconnect | None = None,
    on_change: Callable[[Change], None] = lambda change: None,
) -> AsyncIterator[Session]:
    """Opens a session on a worker, keeps it alive when its stream is lost, and closes it on the way out.

    Args:
        address: HOST:PORT of a worker or of a load balancer; or several, in the order of preference.
        codec: the codec that makes and reads the codes (`Codec.load(...).spec`).
        sampling: None takes the model's own.
        seed: the same seed, sampling and codes give the same reply; None draws one.
        mode: what the model must be able to do, "dialogue", "transcription" or "speech"; "text" asks a model that
            speaks in writing. None takes whatever it does.
        voice: the voice that the model speaks with, where it takes one: its name on the worker (`describe` lists them),
            or what `encode_voice` makes of a recording; a list of names where a script has several speakers. None
            leaves it to the model.
        persona: who the model is, in words; for a model that takes one.
        prompt_text: words in the spelling and style that a model which listens is to write.
        conditions: what the model is told for the whole session, by name; of the others each has its default.
        adapter: what the model is run with, by its name on the worker (see docs/adapters.md); None for nothing.
        timings: ask for the worker's own times in `Totals`.
        credentials: TLS and API key; none will do for a worker on this machine only.
        reconnect: how to look for a worker that goes on with the session; `NEVER` ends it with its first stream.
        on_change: called when the session looks for another worker, and when it has found one.

    Raises:
        ArgumentError: an argument cannot be used; the message names it.
        CredentialsError: the worker is on another machine, and `credentials` neither encrypt nor allow plaintext.
        UnavailableError: nobody answers, or the worker is starting or draining; or no other was found in time.
        NoFreeSlotError: the worker is full.
        PreconditionError: the worker has no adapter of that name; the message has some that it has.
        CodecMismatchError: as `PreconditionError`; the worker's codec is another.
        AntiphonError: any other status that ended the session.
    """
    addresses = check_addresses(address)
    spec = check_type(codec, CodecSpec, "codec", " (Codec.load(...).spec)")
    opening = Opening(
        spec,
        secrets.randbits(63) if seed is None else check_seed(seed),
        check_sampling(sampling),
        check_mode(mode),
        bool(timings),
        check_type(credentials, Credentials, "credentials"),
        check_prompt(voice, persona, prompt_text, spec),
        check_conditions(conditions),
        check_type("" if adapter is None else adapter, str, "adapter"),
    )
    policy = Reconnect() if reconnect is None else check_type(reconnect, Reconnect, "reconnect")
    session = Session(await Carrier.open(addresses, opening, policy, on_change))
    try:
        yield session
    finally:
        await session.abandon()
