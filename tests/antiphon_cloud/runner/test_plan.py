"""The model of cost: its terms, and what it makes of known machines."""

import json
from contextlib import suppress

import pytest
import torch
from click.testing import CliRunner

from antiphon_cloud.cli.commands import commands
from antiphon_cloud.engine.forecast import StepForecast
from antiphon_cloud.errors import RefusedError
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.runner.gpus import GPUS, Hardware
from antiphon_cloud.runner.plan import cost, plan, table
from antiphon_cloud.sessions.admission import Admission
from antiphon_cloud.sessions.clients import Client
from antiphon_cloud.timing import STEP_BUDGET_MS
from tests.support.language_models import GOLDEN

ANYONE = Client("anyone")
SEVEN_B = cost(LMConfig(), torch.bfloat16, "cuda", int8=True, kv_dtype=None)


def test_a_step_reads_the_matrices_once_and_every_sessions_keys_and_values() -> None:
    machine = Hardware("even", 24e9, 1e12, float("inf"), 0.0)
    one = SEVEN_B.step_s(machine, 1, filled=0.0)
    assert one == pytest.approx(SEVEN_B.matrices_bytes / 1e12)
    assert SEVEN_B.step_s(machine, 8, filled=0.0) == one
    assert SEVEN_B.step_s(machine, 8, filled=0.5) - one == pytest.approx(4 * SEVEN_B.session_bytes / 1e12)


def test_a_large_batch_multiplies_for_longer_than_it_reads() -> None:
    machine = Hardware("even", 24e9, 1e12, 100e12, 0.0)
    assert SEVEN_B.step_s(machine, 64, filled=0.0) == pytest.approx(2 * 64 * SEVEN_B.multiplications / 100e12)


@pytest.mark.parametrize(
    ("sessions", "times"), [(1, 1), (64, 1), (65, 2), (128, 2), (129, 3), (149, 3), (320, 5), (321, 5), (1000, 5)]
)
def test_int8_matrices_are_read_once_for_each_tile_of_rows(sessions: int, times: int) -> None:
    machine = Hardware("even", 24e9, 1e12, float("inf"), 0.0)
    floats = cost(LMConfig(), torch.bfloat16, "cuda", int8=False, kv_dtype=None)
    on_a_cpu = cost(LMConfig(), torch.bfloat16, "cpu", int8=True, kv_dtype=None)
    assert SEVEN_B.step_s(machine, sessions, filled=0.0) == pytest.approx(times * SEVEN_B.matrices_bytes / 1e12)
    for other in (floats, on_a_cpu):
        assert other.step_s(machine, sessions, filled=0.0) == pytest.approx(other.matrices_bytes / 1e12)


def test_every_product_of_the_7b_is_counted() -> None:
    assert SEVEN_B.products == 32 * 4 + 1 + 8 * (1 + 6 * 4 + 1)


def test_more_sessions_fit_than_are_in_time_on_a_slow_card() -> None:
    found = plan(SEVEN_B, GPUS["L4"])
    assert 0 < found.in_time < found.fit
    assert found.step_ms <= STEP_BUDGET_MS
    assert 1e3 * SEVEN_B.step_s(GPUS["L4"], found.in_time + 1) > STEP_BUDGET_MS
    assert found.step_ms == pytest.approx(found.matrices_ms + found.caches_ms + found.products_ms)


@pytest.mark.parametrize("budget_ms", [1.0, 40.0, STEP_BUDGET_MS, 80.0])
def test_those_in_time_are_those_that_a_worker_would_admit(budget_ms: float) -> None:
    found = plan(SEVEN_B, GPUS["L40S"], budget_ms)
    profile = {n: 1e3 * SEVEN_B.step_s(GPUS["L40S"], n) for n in range(1, found.fit + 1)}
    worker = Admission(StepForecast(profile), budget_ms)
    admitted = 1  # whom an idle worker admits however long a step takes
    with suppress(RefusedError):
        while True:
            worker.check(ANYONE, 0, admitted, found.fit, 0.0)
            admitted += 1
    assert max(1, found.in_time) == admitted
    assert found.budget_ms == budget_ms


def test_on_a_gpu_a_session_fewer_fits_as_a_row_is_spare() -> None:
    cpu = cost(LMConfig(), torch.bfloat16, "cpu", int8=False, kv_dtype=None)
    cuda = cost(LMConfig(), torch.bfloat16, "cuda", int8=False, kv_dtype=None)
    assert plan(cuda, GPUS["A100"]).fit == plan(cpu, GPUS["A100"]).fit - 1 > 0


def test_a_model_that_does_not_fit_says_so() -> None:
    bfloat16 = cost(LMConfig(), torch.bfloat16, "cuda", int8=False, kv_dtype=None)
    found = plan(bfloat16, Hardware("small", 12e9, 300e9, 1e14, 0.0))
    assert (found.fit, found.in_time) == (0, 0)


def test_the_table_has_a_line_for_each_machine() -> None:
    lines = table([plan(SEVEN_B, machine) for machine in GPUS.values()]).splitlines()
    assert [line.split()[0] for line in lines[3:]] == ["L4", "A10G", "L40S", "A100", "H100", "H200"]


def test_the_command_prints_a_table_or_json() -> None:
    arguments = ["plan", "--model", str(GOLDEN / "moshi-tiny"), "--gpu", "h100"]
    assert "H100" in CliRunner().invoke(commands, arguments).output
    given = ["--memory", "12", "--bandwidth", "500", "--peak", "50", "--json"]
    (h100, other) = json.loads(CliRunner().invoke(commands, [*arguments, *given]).output)
    assert (h100["machine"], other["machine"]) == ("H100", "given")
    assert other["fit"] > 0
    assert other["budget_ms"] == STEP_BUDGET_MS


def test_the_command_takes_a_budget_as_serve_does_and_names_it() -> None:
    arguments = ["plan", "--model", str(GOLDEN / "moshi-tiny"), "--gpu", "L4"]
    assert "at most 64 ms of a frame's 80" in CliRunner().invoke(commands, arguments).output
    tight = CliRunner().invoke(commands, [*arguments, "--step-budget", "0.1"]).output
    assert "at most 0.1 ms" in tight
    assert tight.splitlines()[3].split()[2] == "0"  # in time


@pytest.mark.parametrize(
    ("arguments", "message"), [(["--gpu", "B52"], "'B52' is not one of"), (["--memory", "12"], "give all three")]
)
def test_a_gpu_that_is_unknown_or_half_described_is_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(commands, ["plan", "--model", str(GOLDEN / "moshi-tiny"), *arguments])
    assert result.exit_code == 2
    assert message in result.output
