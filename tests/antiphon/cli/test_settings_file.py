"""A file of settings: what it holds, and what is told of one that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from antiphon.cli.settings_file import Settings, SettingsError, read_settings, value_end


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_a_file_that_is_not_there_settles_nothing(path: Path) -> None:
    assert read_settings(path) == Settings(path)


def test_dev_null_settles_nothing() -> None:
    assert read_settings(Path(os.devnull)).values == {}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'server = "a:1"\nserver\n', "line 2: expected '='"),
        (b"server = a:1\n", "line 1: invalid value"),
        (b'a = 1\nb = "\xff"\n', "line 2: it is no UTF-8 text"),
        (b'a = 1\na = 2\nb = "\n', "line 2: cannot overwrite a value"),
        (b"a = " + b"[" * 5000, "line 1: it is nested too deeply"),
        (b"a = [\n1,\n", "line 2: "),
        (b"#" * 70_000, "it is larger than 65536 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_line_and_what_to_do(path: Path, data: bytes, words: str) -> None:
    path.write_bytes(data)
    with pytest.raises(SettingsError) as raised:
        read_settings(path)
    message = str(raised.value)
    assert message.startswith(f"{path}")
    assert words in message
    assert "\n" not in message
    assert any(way in message for way in ("mend that line", "write that line again", "name another file"))


def test_a_pipe_does_not_hang_the_reader(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(SettingsError, match="it is no regular file"):
        read_settings(path)


@pytest.mark.parametrize(
    ("keys", "line"), [(("a",), 1), (("b",), 5), (("t", "c"), 8), (("t",), 7), (("gone",), None), (("a", "x"), None)]
)
def test_the_line_of_a_value_is_found(keys: tuple[str, ...], line: int | None) -> None:
    assert value_end('a = 1\nb = [\n  "x = 1",\n  2,\n]\n\n[t]\n"c" = """d"""\n', keys) == line
