"""What the runbook says of an incident is what is seen when it is rehearsed."""

from __future__ import annotations

import re

import pytest

from tools import ROOT
from tools.load.chaos import main as chaos
from tools.load.incidents import INCIDENTS

RUNBOOK = (ROOT / "docs/runbook.md").read_text()


@pytest.mark.parametrize("name", INCIDENTS)
def test_an_incident_goes_as_the_runbook_says(name: str) -> None:
    seen = list(INCIDENTS[name]())
    assert len(seen) > 1
    assert [(what, saw) for what, saw, right in seen if not right] == []


def test_every_incident_of_the_runbook_has_a_rehearsal() -> None:
    rows = re.findall(r"^\| \d+ \|.*$", RUNBOOK, re.MULTILINE)
    assert len(rows) >= 10
    rehearsed = [re.search(r"`tools\.load\.(chaos|incidents) (\w+)", row) for row in rows]
    assert all(rehearsed)
    named = {found[2] for found in rehearsed if found is not None and found[1] == "incidents"}
    assert named == set(INCIDENTS)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"tools\.load\.chaos (\w+)", RUNBOOK))))
def test_the_other_rehearsals_are_there(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["chaos", name, "--help"])
    with pytest.raises(SystemExit) as ended:
        chaos()
    assert ended.value.code == 0
    assert name in capsys.readouterr().out.partition("}")[0]
