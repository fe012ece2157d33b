"""The systemd units of worker, gateway and edge: what they say to their commands, and what they let them do."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from antiphon.serving.systemd import Systemd
from antiphon_cloud.cli.commands import commands as cloud
from antiphon_edge.cli.commands import commands as edge
from antiphon_gateway.cli.commands import commands as gateway
from tools import ROOT

UNITS: dict[Path, click.Group] = {
    ROOT / "cloud/deploy/antiphon-worker.service": cloud,
    ROOT / "gateway/deploy/antiphon-gateway.service": gateway,
    ROOT / "edge/deploy/antiphon-edge.service": edge,
}
MOST_EXPOSURE = 2.5  # of 10, as systemd counts; a unit without a sandbox has 9.6

every_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
every_server = pytest.mark.parametrize("unit", list(UNITS)[:2], ids=lambda unit: unit.stem)


def settings(unit: Path) -> list[tuple[str, str]]:
    return re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE)


def setting(unit: Path, name: str) -> str:
    (value,) = (value for key, value in settings(unit) if key == name)
    return value


@every_unit
def test_it_starts_a_command_that_there_is_with_variables_that_it_knows(unit: Path) -> None:
    program, name, *flags = shlex.split(setting(unit, "ExecStart"))
    command = UNITS[unit].commands[name]
    assert (
        Path(program).name == {cloud: "antiphon-cloud", gateway: "antiphon-gateway", edge: "antiphon-edge"}[UNITS[unit]]
    )
    known = {parameter.envvar for each in (UNITS[unit], command) for parameter in each.params}
    assert set(re.findall(r"ANTIPHON_\w+", unit.read_text())) <= known | {"ANTIPHON_CACHE"}
    assert flags == []


@every_unit
def test_it_is_restarted_where_it_hangs_or_ends_but_not_where_it_was_called_wrongly(unit: Path) -> None:
    assert setting(unit, "Type") == "notify"
    assert Systemd({"WATCHDOG_USEC": setting(unit, "WatchdogSec") + "000000"}).watchdog_s in (30, 90)
    assert setting(unit, "Restart") == "always"
    assert setting(unit, "RestartPreventExitStatus") == "2"
    assert setting(unit, "StartLimitIntervalSec") == "0"


@every_server
def test_a_reload_is_the_signal_that_reads_files_again(unit: Path) -> None:
    assert setting(unit, "ExecReload") == "/bin/kill -HUP $MAINPID"


@every_server
def test_a_drain_may_take_its_time(unit: Path) -> None:
    drain = next(each for each in UNITS[unit].commands["serve"].params if each.name == "drain_s")
    assert isinstance(drain.default, float)
    assert drain.default + 2 < float(setting(unit, "TimeoutStopSec"))


@pytest.mark.parametrize("way", ["verify", "security"])
@every_unit
def test_systemd_takes_it_and_finds_little_exposed(unit: Path, way: str, tmp_path: Path) -> None:
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace(shlex.split(setting(unit, "ExecStart"))[0], "/bin/true"))
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("systemd-analyze is not here: apt-get install systemd")
    options = ["verify"] if way == "verify" else ["security", "--offline=true", f"--threshold={MOST_EXPOSURE * 10:.0f}"]
    checked = subprocess.run([analyze, *options, str(copy)], capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout
