"""What the documentation shows works as shown."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from antiphon.cli import settings_option
from antiphon.cli.settings_file import Settings
from antiphon_cloud.cli.commands import commands as cloud
from antiphon_edge.cli.commands import commands as edge
from antiphon_edge.cli.settings_option import defaults
from antiphon_gateway.cli.commands import commands as gateway
from tests.support.commands import worker
from tools import ROOT, SOURCES
from tools.harness.worker_process import Worker

SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/sdk.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def served(golden: Path, tiny_codec: Path) -> Iterator[Worker]:
    with worker("--model", golden / "moshi-tiny", "--codec", tiny_codec) as started:
        yield started


@pytest.mark.slow
@pytest.mark.parametrize("snippet", SNIPPETS, ids=["a session", "a lost stream", "blocking"])
def test_the_sdks_page_runs(
    snippet: str,
    served: Worker,
    tiny_codec: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    soundfile.write(tmp_path / "question.wav", 0.1 * np.sin(np.arange(16_000) * 0.1), 16_000)
    names = {
        "ADDRESS": served.address,
        "QUESTION": tmp_path / "question.wav",
        "REPLY": tmp_path / "reply.wav",
        "CODEC": tiny_codec,
        "USER_CODES": np.zeros((3, 8), np.int32),
    }
    exec(compile(snippet, "docs/sdk.md", "exec"), names)
    said = capsys.readouterr().out
    if "QUESTION" in snippet:
        assert "13 frames" in said
    elif "resumptions" in snippet:
        assert said == "0 resumptions, 3 steps\n"
    else:
        assert said.splitlines()[0] == "0 None"


@pytest.mark.slow
def test_the_page_of_transcripts_runs(
    golden: Path,
    tiny_codec: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/transcribe.md").read_text(), re.DOTALL)
    with worker("--model", golden / "stt-tiny", "--codec", tiny_codec) as listening:
        names = {"ADDRESS": listening.address, "QUESTION": ROOT / "tests/sentence.wav"}
        exec(compile(snippet, "docs/transcribe.md", "exec"), names)
    said = capsys.readouterr().out.splitlines()
    assert len(said) > 20
    assert "(a pause)" in said


PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "cloud/README.md",
    ROOT / "gateway/README.md",
    ROOT / "clerk/antiphon_number_clerk/number-clerk/README.md",
    ROOT / "tools/clerk/train/README.md",
    ROOT / "tests/golden/README.md",
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


COMMANDS = [
    (page.name, line)
    for page in PAGES
    for line in re.findall(r"^    (antiphon-(?:edge|cloud|gateway) [^\n]*)$", page.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_commands_and_flags_are_those_of_the_command_lines(page: str, line: str) -> None:
    program, *words = shlex.split(line.partition(" > ")[0], comments=True)
    commands = {"antiphon-edge": edge, "antiphon-cloud": cloud, "antiphon-gateway": gateway}[program]
    while words[0].startswith("--"):  # of the group, each with a value
        assert words[0] in {flag for parameter in commands.params for flag in parameter.opts}
        del words[:2]
    command = commands.commands[words.pop(0)]
    known = {flag for parameter in command.params for flag in parameter.opts}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


SETTINGS = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/talk.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("text", SETTINGS)
def test_settings_are_those_of_the_command_line(text: str) -> None:
    given = defaults(Settings(Path("talk.md"), text, tomllib.loads(text)), edge)
    assert any(given.values())


def test_a_workers_settings_are_those_of_its_command_line() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/operate.md").read_text(), re.DOTALL)
    (text,) = (block for block in blocks if "[serve]" in block)
    given = settings_option.defaults(Settings(Path("operate.md"), text, tomllib.loads(text)), cloud)
    assert given["serve"]["slots"] == 8


def test_the_pages_show_commands() -> None:
    assert SETTINGS
    assert len(COMMANDS) > 10


ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
DECISIONS = ROOT / "docs/decisions"


def sentence(room: Path) -> str:
    """The first sentence of a folder's docstring."""
    says = ast.get_docstring(ast.parse((room / "__init__.py").read_text()))
    assert says is not None, room
    return re.split(r"(?<=\.)\s", says)[0].replace("\n", " ")


def test_the_rooms_are_those_of_the_tree_and_say_what_they_are() -> None:
    roots = [ROOT / root for root in (*SOURCES, "tools")]
    rooms = [room for root in roots for room in sorted(file.parent for file in root.rglob("__init__.py"))]
    rows = [f"| `{room.relative_to(ROOT)}/` | {sentence(room)} |" for room in rooms]
    table = rf"^\| `(?:{'|'.join((*SOURCES, 'tools'))})/.*$"
    assert re.findall(table, ARCHITECTURE, re.MULTILINE) == rows, "\n".join(rows)


@pytest.mark.parametrize("page", [ROOT / "docs/architecture.md", *DECISIONS.glob("*.md")], ids=lambda page: page.name)
def test_the_rooms_that_a_page_names_are_there(page: Path) -> None:
    """Words in backticks with a slash: rooms and modules of either side, or paths from the root."""
    places = [
        ROOT,
        ROOT / "proto",
        ROOT / "edge/antiphon_edge",
        ROOT / "gateway/antiphon_gateway",
        ROOT / "cloud/antiphon_cloud",
    ]
    for name in re.findall(r"`([a-z_]+/[\w/.-]*)`", page.read_text()):
        assert any((place / name).exists() or (place / f"{name}.py").exists() for place in places), name


def test_there_are_fifteen_words_in_the_glossary() -> None:
    words = ARCHITECTURE.partition("| word |")[2].partition("\n## ")[0]
    assert len(re.findall(r"^\| (?!---)", words.partition("\n")[2], re.MULTILINE)) == 15


@pytest.mark.parametrize("page", sorted(DECISIONS.glob("*.md")), ids=lambda page: page.name)
def test_a_decision_says_what_it_costs_and_what_was_rejected(page: Path) -> None:
    headings = re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE)
    assert headings == ["Context", "Decision", "What it costs", "Rejected"]
    assert f"decisions/{page.name}" in ARCHITECTURE


def test_a_hook_runs_what_make_check_runs() -> None:
    check = (ROOT / "Makefile").read_text().partition("\ncheck:")[2].partition("\ndocs:")[0]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert len(hooks) == 6
    for hook in hooks:
        assert hook["entry"].replace(".venv/bin", "$(BIN)").removesuffix(" --force-exclude") in check


ATTACKS = (ROOT / "docs/operate.md").read_text().partition("| a client that |")[2].partition("\n\n")[0]
NAMED = re.findall(r"`([a-z_/]+(?:\.py)?)`", " ".join(re.findall(r"\| ([^|]*) \|$", ATTACKS, re.MULTILINE)))


@pytest.mark.parametrize("name", sorted(set(NAMED)))
def test_every_limit_is_tested_where_the_page_says(name: str) -> None:
    room = ROOT / "tests/antiphon_cloud"
    if name.endswith(".py"):
        assert (room / name).exists() or (ROOT / "tests" / name).exists()
    else:
        assert re.search(
            rf"def test_\w*{name}", "".join(path.read_text() for path in (room / "server").glob("test_*.py"))
        )
