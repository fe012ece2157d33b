"""SECURITY.md names a test for what it promises, and each of them exists."""

from __future__ import annotations

import ast
import re

import pytest

from tools import ROOT

PAGE = (ROOT / "SECURITY.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/.]+\.py(?:::\w+)?)`", PAGE)))
MIDDLE = PAGE.partition("## Boundaries")[2].partition("## What is not held")[0]
BOUNDARIES = re.split(r"^### ", MIDDLE, flags=re.MULTILINE)[1:]


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_the_page_names_exists(name: str) -> None:
    file, _, function = name.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert functions & {function} if function else any(each.startswith("test_") for each in functions)


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=lambda text: text.splitlines()[0])
def test_a_boundary_says_what_crosses_it_and_what_holds(boundary: str) -> None:
    assert re.search(r"Crosses|asks for no key", boundary)
    assert re.search(r"`tests/[\w/.]+\.py", boundary)


def test_a_row_of_a_table_has_a_test() -> None:
    rows = [row for row in re.findall(r"^\| (.*) \|$", PAGE, flags=re.MULTILINE) if not re.match(r"that \||---", row)]
    assert len(rows) > 15
    for row in rows:
        assert re.search(r"`tests/[\w/.]+\.py", row), row
