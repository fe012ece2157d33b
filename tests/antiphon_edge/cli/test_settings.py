"""What every command takes from the file of settings, and what goes before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from antiphon_edge.cli.commands import commands
from antiphon_edge.transport.credentials import Credentials
from tests.support.commands import one_sentence, run

Command = Callable[..., Result]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edge.toml"


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whom `voices` asks and with which key, instead of asking."""
    asked: list[str] = []

    async def describe(server: str, credentials: Credentials) -> None:
        asked.append(f"{server} {credentials.api_key} {credentials.tls}")
        raise SystemExit(0)

    monkeypatch.setattr("antiphon_edge.cli.voices.describe", describe)
    monkeypatch.delenv("ANTIPHON_CONFIG")
    return asked


def voices(path: Path, *arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(commands, ["--config", str(path), "voices", *arguments], env=variables)


def test_flags_go_before_variables_and_variables_before_the_file(path: Path, reached: list[str]) -> None:
    path.write_text('server = "localhost:1"\n')
    voices(path)
    voices(path, ANTIPHON_SERVER="localhost:2")
    voices(path, "--server", "localhost:3", ANTIPHON_SERVER="localhost:2")
    assert [each.split()[0] for each in reached] == ["localhost:1", "localhost:2", "localhost:3"]


def test_a_commands_own_table_goes_before_what_stands_at_the_top(path: Path, reached: list[str]) -> None:
    path.write_text('server = "localhost:1"\n[voices]\nserver = "localhost:2"\n[talk]\nserver = "localhost:3"\n')
    voices(path)
    assert reached == ["localhost:2 None False"]


def test_a_variable_names_the_file(path: Path, reached: list[str]) -> None:
    path.write_text('server = "localhost:1"\n')
    CliRunner().invoke(commands, ["voices"], env={"ANTIPHON_CONFIG": str(path)})
    assert reached == ["localhost:1 None False"]


def test_the_file_in_its_usual_place_needs_no_name(
    path: Path, reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(path.parent))
    CliRunner().invoke(commands, ["voices"])
    (path.parent / "antiphon").mkdir()
    (path.parent / "antiphon/edge.toml").write_text('server = "localhost:1"\n')
    CliRunner().invoke(commands, ["voices"])
    assert [each.split()[0] for each in reached] == ["localhost:50051", "localhost:1"]


def test_a_switch_in_the_file_can_be_turned_off_by_its_variable(path: Path, reached: list[str]) -> None:
    path.write_text("tls = true\n")
    voices(path)
    voices(path, ANTIPHON_TLS="0")
    assert [each.split()[2] for each in reached] == ["True", "False"]


def test_the_key_of_the_file_goes_to_the_worker_of_the_file_alone(path: Path, reached: list[str]) -> None:
    path.write_text('server = "localhost:1"\napi-key = "hush"\n')
    path.chmod(0o600)
    voices(path)
    voices(path, "--server", "localhost:2")
    voices(path, "--server", "localhost:1")
    voices(path, ANTIPHON_API_KEY="other")
    (path.parent / "key").write_text("third\n")
    voices(path, "--api-key-file", str(path.parent / "key"), ANTIPHON_API_KEY="other")
    assert [each.split()[1] for each in reached] == ["hush", "None", "hush", "other", "third"]


def test_a_key_file_of_the_file_comes_after_the_variable_with_a_key(path: Path, reached: list[str]) -> None:
    (path.parent / "key").write_text("filed\n")
    path.write_text(f'api-key-file = "{path.parent / "key"}"\n')
    voices(path)
    voices(path, ANTIPHON_API_KEY="other")
    assert [each.split()[1] for each in reached] == ["filed", "other"]


def test_a_flag_takes_the_place_of_the_one_in_the_file_that_it_cannot_stand_beside(path: Path) -> None:
    path.write_text('voice = "NATF2"\nserver = "worker.example:1"\nsrt = true\n')
    for command in (["talk", "--voice-wav", "me.wav"], ["transcribe", "--vtt", "in.wav"]):
        failed = CliRunner().invoke(commands, ["--config", str(path), *command])
        assert "worker.example:1 is another machine" in str(failed.exception)  # they went on until there


BAD = {
    "an unknown key": ('servr = "a:1"', "line 1: there is no setting servr; write server"),
    "an unknown key of a command": (
        '[talk]\non-speking = "x"',
        "line 2: there is no setting of talk on-speking; write",
    ),
    "a key that is like none": ("# first\nxyzzy = 1", "line 2: there is no setting xyzzy; take it out"),
    "an underscore": ('api_key = "hush"', "line 1: there is no setting api_key; write api-key"),
    "an unknown command": ("[tlk]\nvolume = 1", "line 1: there is no command [tlk]; write [talk]"),
    "a command without its table": ("talk = 3", "line 1: talk is a command, whose settings stand under [talk]"),
    "an address that is none": ('\nserver = "worker"', "line 2: server: 'worker' is no HOST:PORT"),
    "a number that is too large": ("volume = 300", "line 1: volume: 300.0 is not in the range"),
    "text for a switch": ('tls = "yes"', "line 1: tls takes true or false"),
    "a switch for text": ("server = true", "line 1: server takes text or a number"),
    "a list for one value": ('codec = ["a"]', "line 1: codec takes one value, not a list"),
    "a date": ("voice = 2020-01-01", "line 1: voice takes text or a number"),
    "the flag itself": ('config = "x"', "line 1: there is no setting config"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_sentence_with_line_key_and_what_to_do(case: str, path: Path) -> None:
    text, words = BAD[case]
    path.write_text(text + "\n")
    failed = CliRunner().invoke(commands, ["--config", str(path), "devices"])
    assert failed.exception is not None
    assert str(failed.exception).startswith(f"{path}, {words}")
    assert "; " in str(failed.exception)


def test_a_key_is_never_shown(path: Path) -> None:
    path.write_text('api-key = ["hush"]\n')
    path.chmod(0o600)
    failed = CliRunner().invoke(commands, ["--config", str(path), "devices"])
    assert "api-key takes one value" in str(failed.exception)
    assert "hush" not in str(failed.exception)


def test_as_a_user_sees_it(path: Path) -> None:
    path.write_text("threads = 'many'\n")
    sentence = one_sentence(run("antiphon-edge", "--config", path, "pull"))
    assert f"{path}, line 1: threads: 'many' is not" in sentence
    sentence = one_sentence(run("antiphon-edge", "--config", path.parent / "gone.toml", "pull"))
    assert "gone.toml is not there" in sentence


def test_a_file_with_a_key_that_others_may_read_is_warned_of(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text('api-key = "hush"\n')
    path.chmod(0o644)
    CliRunner().invoke(commands, ["--config", str(path), "devices"])
    assert "chmod 600 it" in caplog.text
