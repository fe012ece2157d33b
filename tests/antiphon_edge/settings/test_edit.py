"""Changes of a file of settings: what the person wrote stays."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.cli.output_file import OutputFileError
from antiphon.cli.settings_file import Settings, SettingsError, read_settings
from antiphon_edge.settings.edit import changed, write_settings

WRITTEN = (
    '# mine\nserver = "a:1"  # the old one\nvolume = 50\n\n# lamps\n[talk]\non-speaking = "lamp"\nserver = "b:1"\n'
)


def settings(text: str) -> Settings:
    return Settings(Path("edge.toml"), text, tomllib.loads(text))


def test_only_what_changes_is_written_anew() -> None:
    assert changed(settings(WRITTEN), {"volume": 60, "server": "a:1"}) == WRITTEN.replace("50", "60")


def test_a_key_can_be_taken_out_and_another_put_before_the_tables() -> None:
    expected = '# mine\nvolume = 50\ntls = true\n\n# lamps\n[talk]\non-speaking = "lamp"\nserver = "b:1"\n'
    read = tomllib.loads(changed(settings(WRITTEN), {"server": None, "tls": True}))
    assert read == tomllib.loads(expected)
    assert read["talk"] == {"on-speaking": "lamp", "server": "b:1"}


@pytest.mark.parametrize("text", ["", "\n", "[talk]\n", '"volume" = 1', "volume = [\n1,\n2]\nserver = 'a:1'"])
def test_a_key_comes_to_its_place_however_the_file_is_written(text: str) -> None:
    read = tomllib.loads(changed(settings(text), {"volume": 7}))
    assert read == {**tomllib.loads(text), "volume": 7}


@given(st.text(st.characters(exclude_categories=["Cs"])), st.floats(allow_nan=False), st.booleans())
def test_every_value_is_read_as_it_was_written(text: str, number: float, flag: bool) -> None:
    values: dict[str, str | int | float | bool | None] = {"input-device": text, "volume": number, "tls": flag}
    try:
        assert tomllib.loads(changed(settings(WRITTEN), values)) == {**tomllib.loads(WRITTEN), **values}
    except SettingsError:
        assert abs(number) == float("inf")


def test_what_cannot_be_changed_safely_is_left_to_the_person() -> None:
    with pytest.raises(SettingsError, match="change it by hand"):
        changed(settings('talk = { server = "a:1" }\nservers.a = 1\n"ser\\u0076er" = "a:1"'), {"server": "b:1"})


def test_the_file_is_its_owners_alone_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder" / "edge.toml"
    write_settings(Settings(path), {"api-key": "hush"})
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o644)
    write_settings(read_settings(path), {"volume": 3})
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_settings(path).values == {"api-key": "hush", "volume": 3}
    assert [each.name for each in path.parent.iterdir()] == ["edge.toml"]


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be made"):
        write_settings(Settings(tmp_path / "file" / "edge.toml"), {"volume": 3})
    (tmp_path / "edge.toml").mkdir()
    with pytest.raises(OutputFileError, match="cannot be written"):
        write_settings(Settings(tmp_path / "edge.toml"), {"volume": 3})
    with pytest.raises(SettingsError, match="holds UTF-8"):
        write_settings(Settings(tmp_path / "other.toml"), {"input-device": "\udcff"})
