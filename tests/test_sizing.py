"""The page of sizes says what `antiphon-cloud plan` does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from antiphon_cloud.runner.gpus import GPUS
from tests.support.commands import call
from tools import ROOT

ROWS = [
    [cell.strip().replace(",", "") for cell in row.strip("| ").split("|")]
    for row in re.findall(r"^\| \S[^|]* \| \d+ GB \|.*$", (ROOT / "docs/sizing.md").read_text(), re.MULTILINE)
]


def name(row: list[str]) -> str:
    """What `plan --gpu` calls the card of a row."""
    return row[0].partition(" (")[0].replace("Jetson ", "").replace(" ", "-")


def test_every_card_that_is_known_has_a_row() -> None:
    assert {name(row) for row in ROWS} | {"A10G"} == set(GPUS)


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_a_row_is_what_plan_says_of_the_7b(row: list[str], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")  # what config.json leaves out is Moshi's
    asked = ("--quantize", "int8", "--kv-cache", "int8", "--step-budget", "64", "--gpu", name(row), "--json")
    (told,) = json.loads(call("antiphon-cloud", "plan", "--model", tmp_path, *asked).out)
    sessions = [str(each["in_time"]) for each in told["by_age"]]
    assert row[2:5] == sessions
    assert row[5] == f"{told['one_session_ms']:.0f} ms"
    assert row[1] == f"{GPUS[name(row)].memory_bytes / 1e9:.0f} GB"
