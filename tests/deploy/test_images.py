"""The Containerfiles: who runs in them, what they write, how they tell their health. `make check` lints them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from antiphon_cloud.cli.commands import commands as cloud
from antiphon_edge.cli.commands import commands as edge
from antiphon_gateway.cli.commands import commands as gateway
from tools import ROOT
from tools.images.base import BASE
from tools.images.build import IMAGES, NAMES
from tools.release.distributions import FOLDERS

PROGRAMS = {"antiphon-cloud": cloud, "antiphon-edge": edge, "antiphon-gateway": gateway}
SERVERS = [name for name in NAMES if name != "edge"]


def instructions(name: str) -> list[tuple[str, str]]:
    """Keyword and the rest of each instruction, with continued lines joined and comments left out."""
    text = re.sub(r"^#.*\n", "", (IMAGES / f"{name}.Containerfile").read_text(), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", text)
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word]


def last(name: str, keyword: str) -> str:
    return [rest for word, rest in instructions(name) if word == keyword][-1]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_built_in_one_stage_and_run_from_another_on_the_same_base(name: str) -> None:
    assert [rest for word, rest in instructions(name) if word == "FROM"] == [f"{BASE} AS build", BASE]


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_as_a_user_without_rights_and_writes_to_volumes_alone(name: str) -> None:
    assert last(name, "USER").partition(":")[0] == "1000"
    assert json.loads(last(name, "VOLUME")) == ["/var/cache/antiphon", "/tmp"]
    variables = dict(pair.split("=", 1) for pair in last(name, "ENV").split())
    folders = [value for key, value in variables.items() if key == "HOME" or "CACHE" in key]
    assert len(folders) >= 2
    assert all(Path(folder).is_relative_to("/var/cache/antiphon") for folder in folders)


@pytest.mark.parametrize("name", NAMES)
def test_what_it_installs_are_distributions_and_extras_of_them(name: str) -> None:
    """The context holds the wheels of all four: which of them are installed is what makes the image."""
    install = next(rest for _, rest in instructions(name) if "antiphon-*.whl" in rest)
    installed = re.findall(r"(antiphon[\w]*)-\*\.whl(?:\)\[([\w,]+)\])?", install)
    assert installed[0][0] == "antiphon"
    for distribution, extras in installed:
        folder = ROOT / FOLDERS[distribution.replace("_", "-")]
        there = tomllib.loads((folder / "pyproject.toml").read_text())["project"].get("optional-dependencies", {})
        assert set(filter(None, extras.split(","))) <= set(there)


@pytest.mark.parametrize("name", NAMES)
def test_it_starts_a_command_that_there_is(name: str) -> None:
    (program,), (command,) = json.loads(last(name, "ENTRYPOINT")), json.loads(last(name, "CMD"))
    assert command in PROGRAMS[program].commands


@pytest.mark.parametrize("name", SERVERS)
def test_its_health_is_a_command_of_its_own_without_a_shell(name: str) -> None:
    program, *arguments = json.loads(last(name, "HEALTHCHECK").partition("CMD ")[2])
    assert [program] == json.loads(last(name, "ENTRYPOINT"))
    variables = dict(pair.split("=", 1) for pair in last(name, "ENV").split())
    assert "ANTIPHON_METRICS_LISTEN" in variables  # where `serve` opens the port and `health` asks
    parsed = CliRunner().invoke(PROGRAMS[program], [*arguments, "--help"], env=variables)
    assert parsed.exit_code == 0


def test_every_image_is_linted_and_named_in_the_page_that_tells_how_it_is_run() -> None:
    page = (ROOT / "docs/images.md").read_text()
    assert "images/*.Containerfile" in (ROOT / "Makefile").read_text()
    assert [name for name in NAMES if f"`{name}`" not in page] == []
