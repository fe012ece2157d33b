"""What the distributions of this repository have in common, as their four pyproject.toml say it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tools import ROOT
from tools.release.distributions import FOLDERS, Built, ReleaseError, check_version, differences

PROJECTS: dict[str, dict[str, Any]] = {
    name: tomllib.loads((ROOT / folder / "pyproject.toml").read_text()) for name, folder in FOLDERS.items()
}
OTHERS = [name for name in FOLDERS if name != "antiphon"]
COMMON = ("classifiers", "urls", "license", "license-files", "requires-python", "dynamic")
FIRST = PROJECTS["antiphon"]


def built(name: str, version: str, folder: Path, content: bytes = b"") -> Built:
    files = [folder / f"{name}-{version}{kind}" for kind in ("-py3-none-any.whl", ".tar.gz")]
    for file in files:
        file.write_bytes(content)
    return Built(name, version, *files)


@pytest.mark.parametrize("name", OTHERS)
def test_they_share_addresses_classifiers_and_licence(name: str) -> None:
    assert {key: PROJECTS[name]["project"][key] for key in COMMON} == {key: FIRST["project"][key] for key in COMMON}
    assert PROJECTS[name]["build-system"] == FIRST["build-system"]
    assert (ROOT / FOLDERS[name] / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("name", FOLDERS)
def test_each_has_its_name_and_takes_its_version_from_git(name: str) -> None:
    project = PROJECTS[name]
    assert project["project"]["name"] == name
    version = project["tool"]["hatch"]["version"]
    assert (version["source"], version["fallback-version"]) == ("vcs", "0.1.0.dev0")
    assert (ROOT / FOLDERS[name] / version["raw-options"].get("root", ".")).resolve() == ROOT


@pytest.mark.parametrize("name", ["antiphon-cloud", "antiphon-gateway"])
def test_each_takes_the_contract_of_its_own_minor_version(name: str) -> None:
    (needed,) = (
        requirement
        for requirement in map(Requirement, PROJECTS[name]["project"]["dependencies"])
        if requirement.name == "antiphon"
    )
    first = Version(FIRST["tool"]["hatch"]["version"]["fallback-version"])
    assert needed.specifier.contains(first)
    assert needed.specifier.contains(f"{first.major}.{first.minor}.9")
    assert not needed.specifier.contains(f"{first.major}.{first.minor + 1}.0")


@pytest.mark.parametrize("name", ["antiphon-cloud", "antiphon-gateway"])
def test_a_library_that_the_edge_needs_too_has_no_lower_floor_elsewhere(name: str) -> None:
    ours = {floor.name: floor.specifier for floor in map(Requirement, FIRST["project"]["dependencies"])}
    for needed in map(Requirement, PROJECTS[name]["project"]["dependencies"]):
        if needed.name in ours:
            (floor,) = needed.specifier
            assert ours[needed.name].contains(floor.version), needed.name


@pytest.mark.parametrize("name", FOLDERS)
def test_on_pypi_no_link_of_a_readme_is_relative(name: str) -> None:
    page = PROJECTS[name]["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    folder = ROOT / FOLDERS[name]
    text = "".join((folder / fragment["path"]).read_text() for fragment in page["fragments"])
    for rule in page["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    home = FIRST["project"]["urls"]["Homepage"]
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        assert target.startswith("https://"), target
        if target.startswith(home):
            assert (ROOT / re.sub(f"{home}/(raw|blob)/main/", "", target).partition("#")[0]).exists(), target


def test_two_builds_that_differ_are_told(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    first = {"antiphon": built("antiphon", "1", one)}
    assert differences(first, {"antiphon": built("antiphon", "1", other)}) == []
    assert differences(first, {"antiphon": built("antiphon", "1", other, b"else")}) == [
        "antiphon-1-py3-none-any.whl",
        "antiphon-1.tar.gz",
    ]


def test_a_release_has_one_version_and_a_page_in_the_changelog(tmp_path: Path) -> None:
    pair = {"a": built("a", "0.1.0.dev5", tmp_path), "b": built("b", "0.1.0.dev5", tmp_path)}
    assert check_version(pair) == "0.1.0.dev5"
    with pytest.raises(ReleaseError, match=r"of versions 0\.1\.0\.dev5, 9\.9\.9"):
        check_version(pair | {"b": built("b", "9.9.9", tmp_path)})
    with pytest.raises(ReleaseError, match=r"CHANGELOG\.md has no section \[9\.9\.9\]"):
        check_version({"b": built("b", "9.9.9", tmp_path)})
