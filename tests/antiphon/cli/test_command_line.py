"""The manners of both command lines, without starting either."""

import sys
from pathlib import Path

import click
import pytest

from antiphon.cli.command_line import Number, different_files, group, option, run
from antiphon.cli.start import start
from antiphon.errors import NoFreeSlotError


@pytest.fixture
def commands() -> click.Group:
    made = group("Speaks.")

    @made.command("speak")
    @option("--seconds", type=Number(0.5, 60), default=1.0, help="How long, in seconds.")
    def speak(seconds: float) -> None:
        """Say something."""
        click.echo("ὦ")

    return made


def status_of(commands: click.Group, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["speaker", *arguments])
    with pytest.raises(SystemExit) as ended:
        run(commands, "speaker")
    return ended.value.code


def test_no_command_shows_the_help_as_it_is(
    commands: click.Group, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(commands, monkeypatch=monkeypatch) == 2
    said = capsys.readouterr().err
    assert said.startswith("Usage: speaker")
    assert said.rstrip().endswith("Say something.")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0.4", "61", "much"])
def test_a_number_is_finite_and_within_its_range(
    value: str, commands: click.Group, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(commands, "speak", f"--seconds={value}", monkeypatch=monkeypatch) == 2
    assert "--seconds" in capsys.readouterr().err


def test_an_error_of_the_library_is_told_with_the_flags_of_the_command(
    commands: click.Group, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @commands.command("fail")
    @option("--tls-ca", "ca", help="A file; none where absent.")
    def fail(ca: str | None) -> None:
        """Fail."""
        raise NoFreeSlotError("give it as `ca`, or as `seconds`", retry_after_s=1.0)

    assert status_of(commands, "fail", monkeypatch=monkeypatch) == 1
    assert capsys.readouterr().err == "speaker: give it as --tls-ca, or as `seconds`\n"


def test_what_the_locale_cannot_print_ends_nothing(
    commands: click.Group, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "out").open("w", encoding="latin-1") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert not status_of(commands, "speak", monkeypatch=monkeypatch)
    assert (tmp_path / "out").read_text() == "?\n"


def test_a_full_disk_behind_standard_output_is_one_sentence(
    commands: click.Group, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115 - closing it fails
    monkeypatch.setattr(sys, "stdout", full)
    assert status_of(commands, "speak", monkeypatch=monkeypatch) == 1
    assert capsys.readouterr().err == "speaker: standard output: No space left on device; write elsewhere\n"
    with pytest.raises(OSError, match="No space"):
        full.close()


def test_an_output_is_not_its_input(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    different_files(tmp_path / "file", tmp_path / "other")
    with pytest.raises(click.UsageError, match="is the input"):
        different_files(tmp_path / "file", tmp_path / "link")


def test_what_a_broken_installation_lacks_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "needs_much.py").write_text("import a_library_that_is_not_here\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit) as ended:
        start("antiphon-edge", "needs_much", distribution="antiphon")
    assert ended.value.code == ("antiphon-edge: a_library_that_is_not_here is not installed: pip install antiphon")


def test_an_interrupt_amid_the_imports_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "is_interrupted.py").write_text("raise KeyboardInterrupt\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit) as ended:
        start("antiphon-edge", "is_interrupted", distribution="antiphon")
    assert ended.value.code == "antiphon-edge: interrupted"
