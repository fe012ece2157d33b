"""The systemd unit of a box that talks: its settings, and its mute."""

from __future__ import annotations

import re

from tools import ROOT

UNIT = ROOT / "edge/deploy/antiphon-edge.service"
SETTINGS = re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE)


def setting(name: str) -> str:
    (value,) = (value for key, value in SETTINGS if key == name)
    return str(value)


def test_it_reads_the_settings_that_setup_writes_and_only_root_can() -> None:
    credential, _, file = setting("LoadCredential").partition(":")
    assert f"ANTIPHON_CONFIG=%d/{credential}" in setting("Environment")
    (command,) = re.findall(r"^#     sudo /opt/antiphon/bin/antiphon-edge (.*)$", UNIT.read_text(), re.MULTILINE)
    assert command == f"--config {file} setup"


def test_a_reload_is_the_signal_that_mutes() -> None:
    assert setting("ExecReload") == "/bin/kill -USR1 $MAINPID"
