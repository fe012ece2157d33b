"""The Pi's page: its five commands, run as they stand there but for the first, which changes the machine."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess

import pytest

from antiphon.cli.settings_file import read_settings
from tests.support.commands import COMMAND_TIMEOUT_S, environment, worker
from tools import ROOT
from tools.talk.sound_server import SoundServer

PAGE = (ROOT / "docs/pi.md").read_text()
BLOCKS = re.findall(r"(?:^    .*\n)+", PAGE, re.MULTILINE)
FIVE = [line.strip() for line in BLOCKS[0].splitlines()]
BOX = next(block for block in BLOCKS if "systemctl enable" in block)


def test_there_are_five_and_the_readme_says_so() -> None:
    assert len(FIVE) == 5
    assert "in five commands](docs/pi.md)" in (ROOT / "README.md").read_text()


def test_the_first_installs_what_live_audio_needs_from_the_system() -> None:
    script = (ROOT / "tools/setup/install_audio.sh").read_text()
    needed = re.search(r"^packages=\((.*)\)$", script, re.MULTILINE)
    assert needed is not None
    assert {*needed[1].split(), "git", "python3-venv"} == set(shlex.split(FIVE[0])[4:])


def test_the_box_is_installed_where_its_unit_looks_for_it() -> None:
    unit = (ROOT / "edge/deploy/antiphon-edge.service").read_text()
    for command in BOX.splitlines():
        place = re.search(r"/(?:opt|etc)/[\w./-]*", command)
        if place is not None and "systemd" not in place[0]:
            assert place[0] in unit, place[0]
    assert "antiphon/edge/deploy/antiphon-edge.service" in BOX


@pytest.mark.timeout(900)
def test_the_other_four_lead_to_talking(sound: SoundServer) -> None:
    home = sound.folder / "pi"  # where the sound server lets programs find it
    home.mkdir()
    (home / ".asoundrc").write_text((sound.folder / ".asoundrc").read_text())
    env = {**environment(), **sound.child_env(), "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
    for name in ("ANTIPHON_CONFIG", "PYTHONPATH"):
        env.pop(name, None)
    _, clone, install, setup, talk = FIVE

    def run(command: str, **variables: str) -> None:
        done = subprocess.run(
            ["bash", "-euc", command], cwd=home, env=env | variables, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=COMMAND_TIMEOUT_S * 2, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    with worker("--slots", "1") as served:
        run(clone.replace("ADDRESS", shlex.quote(str(ROOT))))
        run(install)
        run(setup, ANTIPHON_SERVER=served.address, ANTIPHON_VOLUME="70")
        assert read_settings(home / ".config/antiphon/edge.toml").values == {"volume": 70, "server": served.address}
        talking = subprocess.Popen(
            ["bash", "-euc", f"exec {talk} --json-lines"], cwd=home, env=env, stdout=subprocess.PIPE, text=True
        )
        with talking:
            assert talking.stdout is not None
            listening = any(json.loads(line)["event"] == "listening" for line in talking.stdout)
            os.kill(talking.pid, signal.SIGINT)
            talking.communicate(timeout=COMMAND_TIMEOUT_S)
        assert (listening, talking.returncode) == (True, 0)
