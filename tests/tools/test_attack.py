"""The attacks reach a worker, and the table says what came of one."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import numpy as np
import pytest

from antiphon.v1 import dialogue_pb2 as pb
from tests.support.calls import connected
from tests.support.ports import unused_address
from tests.support.servers import StubOptions, stub_server
from tools.harness.stub_runner import StubRunner
from tools.load import attack
from tools.load.attacks import ATTACKS, NONE, Done, Target

END_S = 20.0  # a wait that lasts so long would last for ever


async def until(true: Any) -> None:
    async with asyncio.timeout(END_S):
        while not true():  # noqa: ASYNC110 - what it asks tells nobody when it changes
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("name", "what", "count"),
    [("queries", "calls", 3), ("owners", "taken", 2), ("rebuilds", "rebuilt", 9), ("late-resets", "calls", 100)],
)
async def test_an_attack_does_what_it_says(name: str, what: str, count: int) -> None:
    done: Done = Counter()
    async with stub_server(StubOptions(runner=StubRunner(slots=4))) as server:
        async with connected(server.address) as (stub, _):
            served = await stub.GetModel(pb.GetModelRequest())
        target = Target(server.address, unused_address(), served.SerializeToString().hex())
        attacking = asyncio.create_task(ATTACKS[name](target, done))
        await until(lambda: attacking.done() or done[what] >= count)
        assert attacking.cancel(), "it attacks for ever"
        with pytest.raises(asyncio.CancelledError):
            await attacking


def test_only_this_machine_is_attacked(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="the attacker failed"):
        attack.Attacker(NONE, Target("192.0.2.1:50051", "127.0.0.1:1", ""))
    assert "AssertionError: only this machine is attacked" in capfd.readouterr().err


def test_the_table_says_what_an_attack_did_to_a_worker(capsys: pytest.CaptureFixture[str]) -> None:
    attack.main(["--only", "unopened", "--seconds", "0.4"])
    machine, heads, line, row, *rest = capsys.readouterr().out.splitlines()
    assert "cores, load average" in machine
    assert heads.count("|") == line.count("|") == row.count("|") == len(attack.COLUMNS) + 1
    cells = dict(zip(attack.COLUMNS, row.strip("| ").split(" | "), strict=True))
    assert (cells["attack"], cells["tokens"]) == ("unopened", "same")
    assert cells["newcomers"].endswith(" of 1")
    assert float(cells["p50 ms"]) <= float(cells["p99 ms"]) <= float(cells["worst ms"])
    assert rest[0].startswith("load average")


def test_a_row_says_where_it_misses() -> None:
    def row(took_ms: float, newcomers: dict[str, int], end_s: float | None, **victim: Any) -> attack.Row:
        outcome = attack.Victim([took_ms] * 125, **victim)
        return attack.Row(NONE, outcome, not victim, Counter(newcomers), end_s, 0, 0.0, {})

    alone = row(5.0, {"": 10}, 0.2)
    assert alone.late == 0
    assert not list(alone.misses(alone))
    assert not list(row(24.0, {"": 10}, 3.0).misses(alone))
    assert list(row(81.0, {"": 9, "it is full": 1}, 3.1, tokens="others").misses(alone)) == [
        "the victim got other tokens than without the attack",
        "the victim's p99 moved by 76 ms",
        "125 frames of the victim came later than 80 ms",
        "1 newcomers were not let in: it is full",
        "SIGTERM took longer than 3 s",
    ]
    ended = row(5.0, {"": 10}, None, error="it is gone")
    assert list(ended.misses(None)) == ["the victim's session ended: it is gone", "SIGTERM took longer than 3 s"]
    assert np.isnan(attack.Row(NONE, attack.Victim(), False, Counter(), None, 0, 0.0, {}).percentile_ms(99))
