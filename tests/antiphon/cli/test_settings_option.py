"""What a server's file of settings gives to its command, at its start and again while it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from antiphon.cli.command_line import Number, group, option
from antiphon.cli.settings_file import SettingsError
from antiphon.cli.settings_option import Reread, add_settings, check_settings

Serve = Callable[..., Reread]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.toml"


@pytest.fixture
def serve(path: Path) -> Serve:
    """Starts a command with the file, and leaves what reads it again."""

    def start(*arguments: str, **variables: str) -> Reread:
        commands, started = group("", check_settings), []

        @commands.command("serve")
        @option("--slots", type=click.IntRange(1), default=4, help="")
        @option("--rate", type=Number(0), default=9.0, help="")
        @option("--most", type=click.IntRange(1), help="")
        @option("--adapter", multiple=True, help="")
        @option("--model", type=click.Path(path_type=Path), help="")
        def _serve(**values: Any) -> None:
            started.append(Reread(click.get_current_context(), ("rate", "most", "log_level")))

        add_settings(commands, "")
        ended = CliRunner().invoke(commands, ["--config", str(path), "serve", *arguments], env=variables)
        if isinstance(ended.exception, SettingsError):
            raise ended.exception
        assert ended.exit_code == 0, ended.output
        return started[0]

    return start


def test_what_may_change_is_read_again(path: Path, serve: Serve) -> None:
    path.write_text('log-level = "error"\n')
    reread = serve()
    assert reread() == {"log_level": "error", "most": None, "rate": 9.0}
    path.write_text('log-level = "debug"\n[serve]\nrate = 2\n')
    assert reread() == {"log_level": "debug", "most": None, "rate": 2.0}
    path.write_text("")
    assert reread() == {"log_level": "warning", "most": None, "rate": 9.0}


def test_flags_and_variables_still_go_before_the_file(path: Path, serve: Serve) -> None:
    path.write_text("rate = 1\n")
    flag, variable = serve("--rate", "5"), serve(ANTIPHON_RATE="6")
    path.write_text("rate = 2\n")
    assert flag()["rate"] == 5.0
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ANTIPHON_RATE", "6")
        assert variable()["rate"] == 6.0


def test_what_may_not_change_is_told_to_wait_for_the_next_start(
    path: Path, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text("slots = 4\n")
    reread = serve()
    path.write_text("slots = 5\nrate = 3\n")
    assert reread()["rate"] == 3.0
    assert caplog.messages == [f"{path}: changed, and waits for the next start: slots"]


def test_a_file_that_has_become_bad_is_an_error_and_changes_nothing(path: Path, serve: Serve) -> None:
    path.write_text("rate = 1\n")
    reread = serve()
    path.write_text("rate = -1\n")
    with pytest.raises(SettingsError, match=r"line 1: rate: .*not in the range"):
        reread()


def test_a_file_that_is_gone_is_an_error_and_takes_no_limit_away(path: Path, serve: Serve) -> None:
    path.write_text("rate = 1\n")
    reread = serve()
    path.unlink()
    with pytest.raises(SettingsError, match="is gone, and the old settings stay"):
        reread()


def test_without_a_file_there_is_nothing_new(serve: Serve, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    path.write_text("")
    assert serve()() == {"log_level": "warning", "most": None, "rate": 9.0}


BAD = {
    "a key that there is not": ("slot = 3", "line 1: there is no setting slot; write slots"),
    "another command's table": ("[sevre]\nslots = 3", r"line 1: there is no command \[sevre\]; write \[serve\]"),
    "half a slot": ("slots = 4.5", "line 1: slots takes a whole number"),
    "a number in words": ('slots = "four"', "line 1: slots: 'four' is not a valid integer"),
    "a number for a path": ("model = 7", "line 1: model takes a path in quotes"),
    "a table for a value": ("[serve.slots]\na = 1", "slots takes text or a number"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_sentence_with_file_line_and_what_is_allowed(case: str, path: Path, serve: Serve) -> None:
    text, words = BAD[case]
    path.write_text(text + "\n")
    with pytest.raises(SettingsError, match=words) as raised:
        serve()
    assert str(raised.value).startswith(f"{path}, line ")


def test_a_file_that_is_not_there_is_told(path: Path, serve: Serve) -> None:
    with pytest.raises(SettingsError, match="is not there: name another with --config"):
        serve()


def test_a_list_is_a_flag_that_is_given_several_times(path: Path, serve: Serve) -> None:
    path.write_text('adapter = ["a=1", "b=2"]\n')
    serve()
