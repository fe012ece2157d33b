"""One client of a load test: sends a frame every 80 ms without waiting for replies, and records the replies."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from antiphon.errors import AntiphonError
from antiphon.spec import CodecSpec, ModelSpec
from antiphon_edge import Change, Reconnect, Resumed, Session, Totals, connect
from tools.harness.reply_ledger import ReplyLedger
from tools.harness.stub_runner import SPEC as STUB
from tools.harness.stub_runner import expected as stub_reply


@dataclass(frozen=True, slots=True)
class Script:
    """What one client sends.

    Args:
        seed: the session's seed.
        codes: the user's codes [frames, codebooks].
        phase_s: when it begins, from the start of the load.
        speed: how many times faster than real time frames are sent.
    """

    seed: int
    codes: npt.NDArray[np.int32]
    phase_s: float = 0.0
    speed: float = 1.0


@dataclass(slots=True)
class Outcome:
    """The measurements of a session."""

    sent: int = 0
    answered: int = 0
    repeated: int = 0
    reordered: int = 0
    foreign: int = 0
    lost: int = 0
    checked: bool = False  # the replies' content was known and compared
    open_ms: float = 0.0  # from connecting to Opened, or to the refusal
    error: str | None = None
    error_kind: str | None = None
    resumed: list[Resumed] = field(default_factory=list)
    arrived_s: list[float] = field(default_factory=list)  # of each reply, from the start of the load
    round_trip_ms: list[float] = field(default_factory=list)  # of each reply, from sending its frame
    late_ms: list[float] = field(default_factory=list)  # of each frame: how much later than due it was sent
    totals: Totals | None = None

    @property
    def longest_gap_ms(self) -> float:
        """The longest time between two replies."""
        return float(np.diff(self.arrived_s).max() * 1e3) if len(self.arrived_s) > 1 else 0.0


def replies_to(script: Script, model: ModelSpec) -> npt.NDArray[np.int32] | None:
    """The stub model's replies [frames, model_codebooks]; None for any other model."""
    if model.fingerprint != STUB.fingerprint:
        return None
    return stub_reply(script.codes, script.seed, 0, model)


async def run_session(
    address: str,
    codec: CodecSpec,
    script: Script,
    start_s: float,
    timings: bool = False,
    reconnect: Reconnect | None = None,
) -> Outcome:
    """Plays the script to its end; records an error of the session instead of raising it.

    Args:
        address: HOST:PORT.
        codec: the codec of the codes.
        script: what to send.
        start_s: the start of the load, on `time.perf_counter`'s clock.
        timings: whether to ask the worker for its own times.
        reconnect: how to reconnect after a lost stream; None for the edge's default.
    """
    outcome = Outcome()
    begin_s = start_s + script.phase_s
    await asyncio.sleep(begin_s - time.perf_counter())
    called_s = time.perf_counter()
    ledger: ReplyLedger | None = None

    def changed(change: Change) -> None:
        if isinstance(change, Resumed):
            outcome.resumed.append(change)

    try:
        async with connect(
            address, codec, seed=script.seed, timings=timings, reconnect=reconnect, on_change=changed
        ) as session:
            outcome.open_ms = (time.perf_counter() - called_s) * 1e3
            expected = replies_to(script, session.model)
            outcome.checked = expected is not None
            ledger = ReplyLedger(expected, session.model.delay_steps)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_send(session, script, begin_s, codec.frame_s, outcome))
                async for reply in session:
                    outcome.arrived_s.append(time.perf_counter() - start_s)
                    outcome.round_trip_ms.append(reply.round_trip_s * 1e3)
                    ledger.enter(reply.codes)
            outcome.totals = session.totals
    except* AntiphonError as errors:
        outcome.error, outcome.error_kind = _first(errors)
        if not outcome.open_ms:
            outcome.open_ms = (time.perf_counter() - called_s) * 1e3
    if ledger is not None:
        outcome.answered, outcome.lost = ledger.answered, ledger.lost(outcome.sent)
        outcome.repeated, outcome.reordered, outcome.foreign = ledger.repeated, ledger.reordered, ledger.foreign
    return outcome


async def _send(session: Session, script: Script, begin_s: float, frame_s: float, outcome: Outcome) -> None:
    for index, codes in enumerate(script.codes):
        due_s = begin_s + index * frame_s / script.speed
        if (wait_s := due_s - time.perf_counter()) > 0:
            await asyncio.sleep(wait_s)
        outcome.late_ms.append((time.perf_counter() - due_s) * 1e3)
        await session.send(codes)
        outcome.sent += 1
    await session.end()


def _first(errors: BaseExceptionGroup[AntiphonError]) -> tuple[str, str]:
    """Message and class name of the first error in the group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error), type(error).__name__
