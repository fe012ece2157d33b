"""The edge's file of settings: where it is, and who may read a key in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.cli.settings_file import read_settings
from antiphon_edge.settings.file import default_path, holds_key_for_others_to_read


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edge.toml"


def test_it_lies_where_the_xdg_specification_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_path() == tmp_path / "antiphon/edge.toml"


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        ('api-key = "x"', 0o644, True),
        ('[talk]\napi-key = "x"', 0o640, True),
        ('api-key = "x"', 0o600, False),
        ('server = "a:1"', 0o644, False),
    ],
)
def test_a_key_that_others_may_read_is_noticed(path: Path, text: str, mode: int, told: bool) -> None:
    path.write_text(text)
    path.chmod(mode)
    assert holds_key_for_others_to_read(read_settings(path)) is told
