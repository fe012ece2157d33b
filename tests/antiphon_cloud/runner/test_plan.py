"""The model of cost: its terms, and what it makes of known machines."""

import json
from contextlib import suppress

import pytest
import torch
from click.testing import CliRunner

from antiphon_cloud.cli.commands import commands
from antiphon_cloud.engine.forecast import StepForecast
from antiphon_cloud.errors import RefusedError
from antiphon_cloud.model.adapters import AdapterRoom
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.runner.cost import Cost, cost, number_of_products
from antiphon_cloud.runner.gpus import GPUS, Hardware
from antiphon_cloud.runner.plan import plan, table
from antiphon_cloud.sessions.admission import Admission
from antiphon_cloud.sessions.clients import Client
from antiphon_cloud.timing import FRAME_MS, STEP_BUDGET_MS
from tests.support.language_models import GOLDEN
from tools.gpu.configs import STT_1B

ANYONE = Client("anyone")
SEVEN_B = cost(LMConfig(), torch.bfloat16, "cuda", int8=True, kv_dtype=None)
ON_A_CPU = cost(LMConfig(), torch.bfloat16, "cpu", int8=True, kv_dtype=None)


def test_a_cpus_step_reads_the_matrices_once_and_every_sessions_keys_and_values() -> None:
    machine = Hardware("even", 24e9, 1e12, float("inf"), 0.0)
    one = ON_A_CPU.step_s(machine, 1, filled=0.0)
    assert one == pytest.approx(ON_A_CPU.size.matrices / 1e12)
    assert ON_A_CPU.step_s(machine, 8, filled=0.0) == one
    assert ON_A_CPU.step_s(machine, 8, filled=0.5) - one == pytest.approx(4 * ON_A_CPU.size.session / 1e12)


def test_a_gpus_step_reads_little_beside_matrices_and_keys_and_values() -> None:
    machine = Hardware("even", 24e9, 1e12, float("inf"), 0.0)
    one = SEVEN_B.step_s(machine, 1, filled=0.0)
    assert one == pytest.approx(SEVEN_B.size.matrices / 1e12, rel=0.01)
    assert SEVEN_B.step_s(machine, 8, filled=0.0) == pytest.approx(one, rel=0.01)
    assert SEVEN_B.step_s(machine, 8, filled=0.5) - one == pytest.approx(4 * SEVEN_B.size.session / 1e12, rel=0.01)


@pytest.mark.parametrize("needed", [SEVEN_B, ON_A_CPU], ids=["GPU", "CPU"])
def test_a_large_batch_multiplies_for_longer_than_it_reads(needed: Cost) -> None:
    machine = Hardware("even", 24e9, 1e12, 1e12, 0.0)
    assert needed.step_s(machine, 64, 0.0) == pytest.approx(2 * 64 * needed.size.elements / 1e12, rel=0.01)


@pytest.mark.parametrize(
    ("sessions", "times"), [(1, 1), (64, 1), (65, 2), (128, 2), (129, 3), (149, 3), (320, 5), (321, 5), (1000, 5)]
)
def test_a_gpu_reads_matrices_once_for_each_tile_of_rows(sessions: int, times: int) -> None:
    machine = Hardware("even", 24e9, 1e12, float("inf"), 0.0)
    rows_s = sessions * (SEVEN_B.step_s(machine, 2, 0.0) - SEVEN_B.step_s(machine, 1, 0.0))
    reading_s = SEVEN_B.step_s(machine, sessions, 0.0) - rows_s
    assert reading_s == pytest.approx(times * SEVEN_B.size.matrices / 1e12, rel=0.01)


def test_every_product_of_the_7b_is_counted() -> None:
    assert number_of_products(LMConfig()) == 32 * 4 + 1 + 8 * (1 + 6 * 4 + 1)


def test_more_sessions_fit_than_are_in_time_on_a_slow_card() -> None:
    *_, found = plan(SEVEN_B, GPUS["L4"]).by_age
    assert 0 < found.in_time < found.fit
    assert found.step_ms <= STEP_BUDGET_MS
    assert 1e3 * SEVEN_B.step_s(GPUS["L4"], found.in_time + 1) > STEP_BUDGET_MS


def test_memory_holds_sessions_by_their_age() -> None:
    """In pages of 256 steps: 375 steps are two, 1,125 are five, and a whole context of 3,000 is twelve."""
    found = plan(SEVEN_B, GPUS["A10G"]).by_age
    assert [each.age_s for each in found] == [30, 90, 240]
    size = SEVEN_B.size
    free = 24e9 * 0.92 - size.matrices - size.tables - size.row - size.page
    assert [each.fit for each in found] == [int(free // (size.row + pages * size.page)) for pages in (2, 5, 12)]
    assert found[0].fit > 2 * found[1].fit > 4 * found[2].fit > 0


@pytest.mark.parametrize("budget_ms", [1.0, 40.0, STEP_BUDGET_MS, 80.0])
def test_those_in_time_are_those_that_a_worker_would_admit(budget_ms: float) -> None:
    planned = plan(SEVEN_B, GPUS["L40S"], budget_ms)
    *_, found = planned.by_age
    profile = {n: 1e3 * SEVEN_B.step_s(GPUS["L40S"], n) for n in range(1, found.fit + 1)}
    worker = Admission(StepForecast(profile), budget_ms)
    admitted = 1  # whom an idle worker admits however long a step takes
    with suppress(RefusedError):
        while True:
            worker.check(ANYONE, 0, admitted, found.fit, 0.0)
            admitted += 1
    assert max(1, found.in_time) == admitted
    assert planned.budget_ms == budget_ms


def test_a_model_that_does_not_fit_says_so() -> None:
    bfloat16 = cost(LMConfig(), torch.bfloat16, "cuda", int8=False, kv_dtype=None)
    found = plan(bfloat16, Hardware("small", 12e9, 300e9, 1e14, 0.0))
    assert [(each.fit, each.in_time) for each in found.by_age] == 3 * [(0, 0)]


def test_room_for_adapters_leaves_memory_for_fewer_sessions() -> None:
    room = AdapterRoom(places=16, rank=64)
    adapted = cost(LMConfig(), torch.bfloat16, "cuda", int8=True, kv_dtype=None, room=room)
    size = SEVEN_B.size
    free = 24e9 * 0.92 - size.matrices - size.tables - size.row - size.page - adapted.size.adapters
    assert adapted.size.adapters > 3e9
    assert plan(adapted, GPUS["A10G"]).by_age[-1].fit == int(free // (size.row + 12 * size.page))


def test_the_table_has_a_line_for_each_machine() -> None:
    lines = table([plan(SEVEN_B, machine) for machine in GPUS.values()]).splitlines()
    assert [line.split()[0] for line in lines[3:]] == list(GPUS)


def test_the_command_prints_a_table_or_json() -> None:
    arguments = ["plan", "--model", str(GOLDEN / "moshi-tiny"), "--gpu", "h100"]
    assert "H100" in CliRunner().invoke(commands, arguments).output
    given = ["--memory", "12", "--bandwidth", "500", "--peak", "50", "--json"]
    (h100, other) = json.loads(CliRunner().invoke(commands, [*arguments, *given]).output)
    assert (h100["machine"], other["machine"]) == ("H100", "given")
    assert other["by_age"][-1]["fit"] > 0
    assert other["budget_ms"] == STEP_BUDGET_MS


def test_the_command_takes_a_budget_as_serve_does_and_names_it() -> None:
    arguments = ["plan", "--model", str(GOLDEN / "moshi-tiny"), "--gpu", "L4"]
    assert "at most 64 ms of a frame's 80" in CliRunner().invoke(commands, arguments).output
    tight = CliRunner().invoke(commands, [*arguments, "--step-budget", "0.1"]).output
    assert "at most 0.1 ms" in tight
    assert tight.splitlines()[3].split()[3] == "0,"  # in time


@pytest.mark.parametrize(
    ("arguments", "message"), [(["--gpu", "B52"], "'B52' is not one of"), (["--memory", "12"], "give all three")]
)
def test_a_gpu_that_is_unknown_or_half_described_is_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(commands, ["plan", "--model", str(GOLDEN / "moshi-tiny"), *arguments])
    assert result.exit_code == 2
    assert message in result.output


def test_an_h100_holds_more_streams_of_speech_to_text_than_the_published_server_claims() -> None:
    """400 at three times real time, by moshi-server's page; a full context each, in bfloat16."""
    listening = cost(STT_1B, torch.bfloat16, "cuda", int8=False, kv_dtype=None)
    assert plan(listening, GPUS["H100"], FRAME_MS / 3).in_time > 400
    assert plan(listening, GPUS["H100"]).in_time > 700
