"""Files that change while a server runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.errors import AntiphonError
from antiphon.serving.changing_files import ChangingFiles


def numbers(*paths: Path) -> ChangingFiles[list[int]]:
    """The number in each file."""

    def read() -> list[int]:
        try:
            return [int(path.read_text()) for path in paths]
        except (OSError, ValueError) as error:
            raise AntiphonError(f"no number: {error}") from None

    return ChangingFiles(paths, read, "the old numbers stay")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    for name, text in (("a", "1"), ("b", "2")):
        (tmp_path / name).write_text(text)
    return tmp_path / "a", tmp_path / "b"


def test_they_are_read_again_when_either_changes_and_not_otherwise(pair: tuple[Path, Path]) -> None:
    files = numbers(*pair)
    assert (files.follow(), files.value) == (False, [1, 2])
    pair[1].write_text("30")
    assert (files.follow(), files.value) == (True, [1, 30])
    assert not files.follow()


def test_what_cannot_be_used_is_told_once_and_changes_nothing(
    pair: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    files = numbers(*pair)
    pair[0].unlink()
    assert [files.follow(), files.follow(), files.follow()] == [False, False, False]
    assert files.value == [1, 2]
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["the old numbers stay"]
    pair[0].write_text("10")
    assert (files.follow(), files.value) == (True, [10, 2])


def test_they_are_read_again_on_demand(pair: tuple[Path, Path]) -> None:
    files = numbers(*pair)
    assert files.reload()
    assert not files.follow()


def test_files_that_cannot_be_used_at_first_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(AntiphonError, match="no number"):
        numbers(tmp_path / "gone")
