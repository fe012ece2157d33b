"""How tests are ordered, and how they keep time. CONTRIBUTING.md says so, too."""

import ast
import importlib
from pathlib import Path

import pytest

from tests.conftest import LONGEST, NOT_MEASURED, SHORT_LIMITS, SLOW
from tools import SOURCES

TESTS = Path(__file__).parent
PACKAGES = {folder.name: folder for root in SOURCES for folder in (TESTS.parent / root).glob("antiphon*")}
RUN_BY_NAME = {
    "antiphon_cloud.cli",
    "antiphon_edge.cli",
    "antiphon_gateway.cli",
    "antiphon_cloud.backends.cuda.kernels",
}  # not imported
FILES = sorted(path for name in PACKAGES for path in (TESTS / name).rglob("test_*.py"))


def imported(path: Path) -> set[str]:
    """Modules that a file names in its imports, and what it takes from packages."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_a_test_of_a_room_lies_in_its_folder_and_says_what_it_is_about(path: Path) -> None:
    package, *inner = path.parent.relative_to(TESTS).parts
    assert PACKAGES[package].joinpath(*inner).is_dir(), "a folder of tests is a folder of the product"
    room = ".".join((package, *inner))
    if inner and room not in RUN_BY_NAME:
        assert any(f"{name}.".startswith(f"{room}.") for name in imported(path)), f"it needs nothing of {room}"
    assert ast.get_docstring(ast.parse(path.read_text())), "its first line says what it is about"


def test_no_room_is_without_tests() -> None:
    rooms = {
        TESTS / name / module.parent.relative_to(folder)
        for name, folder in PACKAGES.items()
        for module in folder.rglob("[!_]*.py")
        if "_pb2" not in module.name
    }
    assert rooms == {path.parent for path in FILES}


@pytest.mark.parametrize(("module", "names"), SHORT_LIMITS.items())
def test_each_limit_that_tests_stretch_is_there(module: str, names: tuple[str, ...]) -> None:
    found = importlib.import_module(module)
    assert all(isinstance(getattr(found, name), float) for name in names)


def test_what_conftest_treats_apart_is_there() -> None:
    there = {path.name for path in TESTS.rglob("*") if path.is_dir() or path.name.startswith("test_")}
    assert SLOW | NOT_MEASURED | set(LONGEST) <= there
