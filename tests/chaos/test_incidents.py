"""What the runbook says of an incident is what is seen when it is rehearsed."""

from __future__ import annotations

import re

import pytest

from tools import ROOT
from tools.load.chaos import main as chaos
from tools.load.incidents import INCIDENTS

INCIDENT_ROWS = re.findall(
    r"^\| \d+ \|.*$", (ROOT / "docs/runbook.md").read_text().partition("\n## What was seen")[0], re.MULTILINE
)
REHEARSALS = [re.findall(r"`tools\.load\.(chaos|incidents) (\w+)`", row) for row in INCIDENT_ROWS]


@pytest.mark.parametrize("name", INCIDENTS)
def test_an_incident_goes_as_the_runbook_says(name: str) -> None:
    seen = list(INCIDENTS[name]())
    assert len(seen) > 1
    assert [(what, saw) for what, saw, right in seen if not right] == []


def test_every_incident_of_the_runbook_has_a_rehearsal() -> None:
    assert len(INCIDENT_ROWS) >= 10
    assert [len(found) for found in REHEARSALS] == [1] * len(INCIDENT_ROWS)
    assert {name for ((tool, name),) in REHEARSALS if tool == "incidents"} == set(INCIDENTS)


@pytest.mark.parametrize("name", [name for ((tool, name),) in REHEARSALS if tool == "chaos"])
def test_the_other_rehearsals_are_there(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["chaos", name, "--help"])
    with pytest.raises(SystemExit) as ended:
        chaos()
    assert ended.value.code == 0
    assert name in capsys.readouterr().out.partition("}")[0]
