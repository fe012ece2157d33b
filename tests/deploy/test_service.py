"""The systemd unit of a box that talks: what it says to the command, and what it lets it do."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from antiphon_edge.cli.commands import commands
from antiphon_edge.view.systemd import Systemd
from tools import ROOT

UNIT = ROOT / "edge/deploy/antiphon-edge.service"
SETTINGS = re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE)
MOST_EXPOSURE = 2.5  # of 10, as systemd counts; a unit without a sandbox has 9.6


def setting(name: str) -> str:
    (value,) = (value for key, value in SETTINGS if key == name)
    return str(value)


def test_it_starts_a_command_that_there_is_with_variables_that_it_knows() -> None:
    program, name, *flags = shlex.split(setting("ExecStart"))
    assert Path(program).name == "antiphon-edge"
    known = {parameter.envvar for parameter in commands.commands[name].params}
    set_here = re.findall(r"ANTIPHON_\w+", " ".join(value for _, value in SETTINGS))
    named_in_comments = re.findall(r"ANTIPHON_\w+", UNIT.read_text())
    assert {*set_here, *named_in_comments} <= known
    assert flags == []


def test_it_is_restarted_where_it_hangs_or_ends_but_not_where_it_was_called_wrongly() -> None:
    assert setting("Type") == "notify"
    assert Systemd({"WATCHDOG_USEC": setting("WatchdogSec") + "000000"}).watchdog_s == 30
    assert setting("Restart") == "always"
    assert setting("RestartPreventExitStatus") == "2"
    assert setting("StartLimitIntervalSec") == "0"


def test_a_reload_is_the_signal_that_mutes() -> None:
    assert setting("ExecReload") == "/bin/kill -USR1 $MAINPID"


@pytest.mark.parametrize("way", ["verify", "security"])
def test_systemd_takes_it_and_finds_little_exposed(way: str, tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(setting("ExecStart").split()[0], "/bin/true"))
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("systemd-analyze is not here: apt-get install systemd")
    options = ["verify"] if way == "verify" else ["security", "--offline=true", f"--threshold={MOST_EXPOSURE * 10:.0f}"]
    checked = subprocess.run([analyze, *options, str(unit)], capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout
