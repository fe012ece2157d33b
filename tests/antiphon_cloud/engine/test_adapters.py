"""Who gets which adapter in which place, and what a session hears of one that cannot be had."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from antiphon.errors import AntiphonError, PreconditionError
from antiphon.history import HistoryTokens
from antiphon.spec import Sampling
from antiphon_cloud.checkpoint.adapter_files import AdapterFiles
from antiphon_cloud.engine.adapters import AdapterAccount
from antiphon_cloud.engine.engine import Engine
from antiphon_cloud.engine.slot import Slot
from antiphon_cloud.runner.settings import SessionSettings
from tools.harness.stepper_thread import StepperThread
from tools.harness.stub_runner import StubRunner

CODES = np.arange(8, dtype=np.int32)
WAIT_S = 10


def account(folder: Path, places: int, *names: str) -> AdapterAccount:
    for name in names:
        (folder / f"{name}.safetensors").write_text(name)
    return AdapterAccount(AdapterFiles([folder]), places)


def placed(account: AdapterAccount, row: int, name: str) -> tuple[int, bool]:
    """Where a session's adapter is, and whether it must be read."""
    assert account.has_room(name)
    adapter = account.begin(row, name, b"")
    return adapter.place, adapter.fresh


def test_sessions_of_one_adapter_share_its_place(tmp_path: Path) -> None:
    adapters = account(tmp_path, 2, "a", "b")
    assert [placed(adapters, row, name) for row, name in enumerate("aba")] == [(0, True), (1, True), (0, False)]


def test_an_adapter_stays_until_another_one_needs_its_place(tmp_path: Path) -> None:
    adapters = account(tmp_path, 1, "a", "b")
    assert placed(adapters, 0, "a") == (0, True)
    adapters.end(0)
    assert placed(adapters, 0, "a") == (0, False)
    adapters.end(0)
    assert placed(adapters, 0, "b") == (0, True)


def test_while_sessions_have_all_places_no_other_adapter_has_room(tmp_path: Path) -> None:
    adapters = account(tmp_path, 2, "a", "b", "c")
    placed(adapters, 0, "a")
    placed(adapters, 1, "b")
    placed(adapters, 2, "b")
    assert not adapters.has_room("c")
    assert adapters.has_room("a")
    assert [adapters.frees(row) for row in range(4)] == [True, False, False, False]
    adapters.end(1)
    assert not adapters.has_room("c")
    adapters.end(2)
    assert adapters.has_room("c")


def test_the_one_that_was_asked_for_longest_ago_goes_first(tmp_path: Path) -> None:
    adapters = account(tmp_path, 3, *"abcd")
    for row, name in enumerate("abca"):
        placed(adapters, row, name)
    for row in range(4):
        adapters.end(row)
    assert placed(adapters, 0, "d") == (1, True)


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "changed"])
def test_one_whose_file_is_not_what_it_was_goes_before_all_others(gone: bool, tmp_path: Path) -> None:
    adapters = account(tmp_path, 3, *"abcd")
    for row, name in enumerate("abc"):
        placed(adapters, row, name)
        adapters.end(row)
    path = tmp_path / "c.safetensors"
    path.unlink()
    if not gone:
        path.write_text("another c")
    assert placed(adapters, 0, "d") == (2, True)


def test_a_changed_file_is_another_adapter_and_who_has_the_old_one_keeps_it(tmp_path: Path) -> None:
    adapters = account(tmp_path, 2, "a")
    placed(adapters, 0, "a")
    (tmp_path / "a.safetensors").write_text("another a")
    assert placed(adapters, 1, "a") == (1, True)
    assert not adapters.has_room("a") or placed(adapters, 2, "a") == (1, False)


def test_one_that_could_not_be_read_is_read_again_for_whoever_asks_next(tmp_path: Path) -> None:
    adapters = account(tmp_path, 2, "a")
    placed(adapters, 0, "a")
    adapters.failed(0)
    assert placed(adapters, 1, "a") == (1, True)


def test_a_worker_without_adapters_says_so() -> None:
    with pytest.raises(PreconditionError, match=r"no adapters, 'a' neither; start it with --adapters-dir"):
        AdapterAccount().has_room("a")
    assert AdapterAccount().names() == []


@asynccontextmanager
async def running(runner: StubRunner, adapters: AdapterAccount) -> AsyncIterator[Engine]:
    engine = Engine(StepperThread(runner), adapters=adapters)
    await engine.start()
    try:
        yield engine
    finally:
        runner.gate.set()
        await engine.stop()


def take(
    engine: Engine, adapter: str, history: HistoryTokens | None = None, sha256: bytes = b""
) -> tuple[Slot, asyncio.Queue[object]]:
    outbox: asyncio.Queue[object] = asyncio.Queue()
    settings = SessionSettings(adapter=adapter)
    return engine.take(0, Sampling(), outbox.put_nowait, "anyone", history, settings, sha256), outbox


async def stepped(engine: Engine, slot: Slot, outbox: asyncio.Queue[object], sequence: int = 0) -> None:
    await asyncio.wait_for(slot.ready, WAIT_S)
    engine.submit(slot, sequence, CODES)
    assert not isinstance(await asyncio.wait_for(outbox.get(), WAIT_S), AntiphonError)


async def test_a_session_is_ready_once_its_adapter_is_loaded_and_is_stepped_with_it(tmp_path: Path) -> None:
    runner = StubRunner()
    async with running(runner, account(tmp_path, 2, "a", "b")) as engine:
        for name in ("a", "b", "b"):
            slot, outbox = take(engine, name)
            await stepped(engine, slot, outbox)
            assert slot.adapter_sha256 == hashlib.sha256(name.encode()).digest()
        await stepped(engine, *take(engine, ""))
    assert runner.loaded == [(0, "a.safetensors"), (1, "b.safetensors")]
    assert runner.places == [0, 1, 1, None]


async def test_others_step_while_an_adapter_is_loaded(tmp_path: Path) -> None:
    runner = StubRunner()
    async with running(runner, account(tmp_path, 1, "a")) as engine:
        first, outbox = take(engine, "")
        await stepped(engine, first, outbox)
        slot, _ = take(engine, "a")
        for sequence in range(1, 5):
            engine.submit(first, sequence, CODES)
        for _ in range(1, 5):
            await asyncio.wait_for(outbox.get(), WAIT_S)
        await asyncio.wait_for(slot.ready, WAIT_S)


async def test_a_resumed_session_has_its_adapter_before_its_prefill(tmp_path: Path) -> None:
    runner, steps = StubRunner(), 6
    past = HistoryTokens(
        steps, np.zeros((steps, 8), np.int32), np.zeros(steps, np.int32), np.zeros((steps, 8), np.int32)
    )
    async with running(runner, account(tmp_path, 1, "a")) as engine:
        slot, outbox = take(engine, "a", past, hashlib.sha256(b"a").digest())
        await stepped(engine, slot, outbox, steps)
    assert runner.places[slot.row] == 0
    assert sum(runner.chunks) == steps


async def test_an_adapter_of_the_same_name_that_is_another_one_is_refused(tmp_path: Path) -> None:
    async with running(StubRunner(), account(tmp_path, 2, "a")) as engine:
        slot, _ = take(engine, "a", sha256=b"\x01" * 32)
        with pytest.raises(PreconditionError, match=r"began with 01010101.*this worker's a is .*start a new session"):
            await asyncio.wait_for(slot.ready, WAIT_S)
        engine.release(slot)
        again, outbox = take(engine, "a")
        await stepped(engine, again, outbox)


async def test_one_that_cannot_be_read_ends_only_the_sessions_that_want_it_and_is_tried_again(tmp_path: Path) -> None:
    runner = StubRunner()
    adapters = account(tmp_path, 2, "a")
    (tmp_path / "b.safetensors").write_text("no adapter")
    async with running(runner, adapters) as engine:
        other, outbox = take(engine, "a")
        await stepped(engine, other, outbox)
        for _ in range(2):
            slots = [take(engine, "b")[0] for _ in range(2)]
            for slot in slots:
                with pytest.raises(PreconditionError, match="no adapter, the stub was told"):
                    await asyncio.wait_for(slot.ready, WAIT_S)
                engine.release(slot)
        (tmp_path / "b.safetensors").write_text("an adapter by now")
        await stepped(engine, *take(engine, "b"))
        await stepped(engine, other, outbox, 1)
