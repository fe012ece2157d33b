"""Files that come to be whole or not at all."""

from pathlib import Path

import pytest

from antiphon.cli.output_file import OutputFileError, output_file


def test_what_is_written_stands_there_when_the_block_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "any.suffix"
    with output_file(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_an_older_file_stays_where_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"older")

    def be_interrupted() -> None:
        with output_file(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder/file")
    with output_file(tmp_path / "link") as file:
        file.write(b"there")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder/file").read_bytes() == b"there"


@pytest.mark.parametrize("path", ["no/folder/file", ".", "x" * 300])
def test_a_path_that_cannot_be_written_is_named_before_the_work(path: str, tmp_path: Path) -> None:
    with pytest.raises(OutputFileError, match="cannot be written"), output_file(tmp_path / path):
        pytest.fail("the work was begun")


def test_a_full_disk_is_named() -> None:
    with (
        pytest.raises(OutputFileError, match=r"/dev/full: cannot be written \(No space left"),
        output_file(Path("/dev/full")) as file,
    ):
        file.write(b"much")
