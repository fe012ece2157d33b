"""The file of API keys: several keys a name, their end, who may read and write it, and how it is changed."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from antiphon.errors import UnauthenticatedError
from antiphon.serving.key_edit import make_key, revoke_key
from antiphon.serving.key_file import KeyEntry, KeyFile, KeyFileError, digest, read_key_file
from antiphon_cloud.cli.commands import commands

NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


class Wall:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def opened(path: Path, wall: Wall | None = None) -> KeyFile[str]:
    def client_of(name: str, entry: KeyEntry, alone: bool) -> str:
        return name

    return KeyFile(path, client_of, "worker", "somehow", wall or Wall())


def test_a_name_may_have_an_old_and_a_new_key(path: Path) -> None:
    old = make_key(path, "kitchen", sessions=2)
    new = make_key(path, "kitchen", opens_per_minute=3, another=True)
    keys = opened(path)
    assert (keys.client(old), keys.client(new)) == ("kitchen", "kitchen")
    entry = read_key_file(path)["kitchen"]
    assert (entry.hashes, entry.sessions, entry.opens_per_minute) == ([digest(old), digest(new)], 2, 3)
    with pytest.raises(KeyFileError, match="a key named kitchen already: revoke-key takes it out, --another gives"):
        make_key(path, "kitchen")


def test_the_old_one_is_revoked_by_the_beginning_of_its_hash(path: Path) -> None:
    old, new = make_key(path, "kitchen"), make_key(path, "kitchen", another=True)
    assert revoke_key(path, "kitchen", digest(old)[:12]) == 1
    keys = opened(path)
    assert keys.client(new) == "kitchen"
    with pytest.raises(UnauthenticatedError, match="does not know the API key"):
        keys.client(old)


def test_a_name_is_revoked_with_all_its_keys_and_others_with_their_comments_stay(path: Path) -> None:
    make_key(path, "kitchen")
    make_key(path, "kitchen", another=True)
    with path.open("a") as file:
        file.write("\n# of the people next door\n")
    garden = make_key(path, "garden", sessions=1)
    assert revoke_key(path, "kitchen") == 2
    assert list(read_key_file(path)) == ["garden"]
    assert path.read_text().startswith("# of the people next door\n")
    assert opened(path).client(garden) == "garden"


@pytest.mark.parametrize(
    ("name", "prefix", "words"),
    [("attic", None, "no key named attic: list-keys shows"), ("kitchen", "zz", "0 keys of kitchen have a hash that")],
)
def test_what_there_is_not_cannot_be_revoked(path: Path, name: str, prefix: str | None, words: str) -> None:
    make_key(path, "kitchen")
    before = path.read_text()
    with pytest.raises(KeyFileError, match=words):
        revoke_key(path, name, prefix)
    assert path.read_text() == before


def test_a_file_that_is_written_in_another_way_is_left_as_it_is(path: Path) -> None:
    path.write_text(f'keys = {{ kitchen = {{ sha256 = "{digest("x")}" }} }}\n')
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="change it by hand"):
        revoke_key(path, "kitchen")
    assert opened(path).client("x") == "kitchen"
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_changed_file_keeps_its_mode(path: Path) -> None:
    make_key(path, "kitchen")
    make_key(path, "garden")
    path.chmod(0o640)
    revoke_key(path, "garden")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_key_opens_nothing_from_its_expiry_on(path: Path) -> None:
    key, wall = make_key(path, "kitchen", expires=NEW_YEAR), Wall()
    keys = opened(path, wall)
    wall.now_s = NEW_YEAR.timestamp() - 1
    assert keys.client(key) == "kitchen"
    wall.now_s += 1
    with pytest.raises(UnauthenticatedError, match="the API key has expired: ask the worker's operator"):
        keys.client(key)


def test_an_expiry_without_a_zone_is_refused(path: Path) -> None:
    path.write_text(f'[keys.kitchen]\nsha256 = "{digest("x")}"\nexpires = 2027-01-01T00:00:00\n')
    with pytest.raises(KeyFileError, match="timezone"):
        opened(path)


def test_a_file_that_everybody_may_write_is_refused_and_one_that_everybody_may_read_is_warned_of(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_key(path, "kitchen")
    path.chmod(0o640)
    opened(path)
    assert caplog.messages == []
    path.chmod(0o644)
    opened(path)
    assert caplog.messages == [f"{path}: everybody may read it, and so learn who has keys: chmod 600 it"]
    path.chmod(0o646)
    with pytest.raises(KeyFileError, match="everybody may write it, and so make keys: chmod 600 it"):
        opened(path)


def test_the_commands_make_list_and_revoke(path: Path) -> None:
    def run(*arguments: str) -> str:
        ended = CliRunner().invoke(commands, [*arguments, "--api-keys", str(path)])
        assert ended.exit_code == 0, ended.exception
        return ended.output.strip()

    key = run("make-key", "kitchen", "--sessions", "2", "--opens-per-minute", "30", "--expires", "2027-01-01")
    other = run("make-key", "garden", "--expires", "2020-01-01T12:00+02:00")
    assert run("list-keys").splitlines() == [
        f"kitchen: {digest(key)[:12]}, sessions 2, opens a minute 30, expires 2027-01-01 00:00 UTC",
        f"garden: {digest(other)[:12]}, expired 2020-01-01 10:00 UTC",
    ]
    assert run("revoke-key", "garden") == "garden: 1 key taken out"
    assert run("make-key", "kitchen", "--another") != key
    assert len(run("list-keys").splitlines()) == 1
