"""What `antiphon_edge` offers to its users, and what importing it costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import antiphon_edge

NAMES = {
    *(
        "connect",
        "describe",
        "Description",
        "encode_voice",
        "blocking",
        "Session",
        "Reply",
        "SpokenWord",
        "Totals",
        "GoAway",
        "Change",
        "Reconnecting",
        "Resumed",
    ),
    *("Reconnect", "NEVER", "Credentials", "Sampling", "GREEDY", "CodecSpec", "AntiphonError"),
    *("pull_codec", "Codec", "Hearing", "Recorder", "Recording"),
    *(
        "Microphone",
        "Speaker",
        "EchoCanceller",
        "Ending",
        "AudioDevice",
        "DeviceChange",
        "list_devices",
        "WavReader",
        "WavWriter",
    ),
    *("Words", "Word", "Pauses"),
}
HEAVY = {"grpc", "onnxruntime", "soundfile", "soxr", "click", "msgspec", "pyaudio", "torch"}


def examples() -> list[str]:
    """The indented blocks of the docstring."""
    blocks = re.split(r"^\S.*\n", antiphon_edge.__doc__ or "", flags=re.MULTILINE)
    return [textwrap.dedent(block) for block in blocks if block.strip()]


def loaded_after(code: str) -> set[str]:
    program = f"{code}\nimport sys\nprint(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_its_names_are_these_and_no_others() -> None:
    assert set(antiphon_edge.__all__) == NAMES
    assert set(dir(antiphon_edge)) >= NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_is_there(name: str) -> None:
    value = getattr(antiphon_edge, name)
    assert getattr(value, "__name__", name).rpartition(".")[2] == name


def test_a_type_checker_sees_the_same_names() -> None:
    tree = ast.parse(Path(antiphon_edge.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    imported = [(node.module, alias.name) for node in imports for alias in node.names]
    assert {name for _, name in imported} == NAMES
    for module, name in imported:
        assert getattr(sys.modules[module or ""], name) is getattr(antiphon_edge, name)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'antiphon_edge' has no attribute 'Conection'"):
        antiphon_edge.Conection  # type: ignore[attr-defined] # noqa: B018


def test_importing_it_loads_no_library() -> None:
    assert not loaded_after("import antiphon_edge") & HEAVY


def test_all_of_it_needs_neither_portaudio_nor_torch() -> None:
    loaded = loaded_after("from antiphon_edge import *\nassert Microphone and Codec and blocking.connect")
    assert not loaded & {"pyaudio", "_portaudio", "pyaudio._portaudio", "torch"}
    assert {"grpc", "onnxruntime"} <= loaded


@pytest.mark.parametrize("example", examples(), ids=["files", "live", "persona", "TLS", "blocking"])
def test_the_examples_use_what_is_there(example: str) -> None:
    tree = ast.parse("async def example():\n" + textwrap.indent(example, "    "))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {alias.name for node in imports if node.module == "antiphon_edge" for alias in node.names} <= NAMES
    assert imports
    exec(compile(ast.Module(list[ast.stmt](imports), []), "example", "exec"), {})
