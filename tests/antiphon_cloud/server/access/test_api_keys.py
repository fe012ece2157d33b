"""API keys: the file, and what a call gets with the right key, the wrong one, and too many."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import pytest
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import example, given
from hypothesis import strategies as st

from antiphon.errors import NoFreeSlotError, UnauthenticatedError
from antiphon.history import History
from antiphon.serving.key_edit import make_key, save_key
from antiphon.serving.key_file import KeyFileError, digest, read_key_file
from antiphon.v1 import dialogue_pb2 as pb
from antiphon.v1 import dialogue_pb2_grpc
from antiphon_cloud.cli.commands import commands
from antiphon_cloud.server.access.api_keys import ApiKeys
from antiphon_cloud.server.process import ServerConfig
from antiphon_cloud.sessions.clients import Allowance
from antiphon_edge import Credentials, connect, pull_codec
from tests.support.commands import one_sentence, run
from tests.support.servers import CODEC, StubOptions, codec_files, stub_server
from tools.harness.stub_runner import SPEC

DEFAULT = Allowance(sessions=3, opens_per_minute=100)


def test_a_key_is_kept_as_its_hash_in_a_file_of_its_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    kitchen = make_key(path, "kitchen", sessions=2, opens_per_minute=0.5)
    garden = make_key(path, "garden")
    assert len(kitchen) >= 43 + len("antiphon_")
    assert kitchen != garden
    assert kitchen not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    entries = read_key_file(path)
    assert (entries["kitchen"].sha256, entries["garden"].sha256) == (digest(kitchen), digest(garden))
    keys = ApiKeys(path, DEFAULT)
    assert keys.client(kitchen).name == "the API key kitchen"
    assert keys.client(kitchen).allowance == Allowance(2, 0.5)
    assert keys.client(garden).allowance == DEFAULT


@given(st.none() | st.integers(1, 10**12), st.none() | st.floats(1e-6, 1e12) | st.integers(1, 10**12))
@example(1_000_000, 1_000_000.0)
def test_whatever_limits_a_key_is_made_with_are_read_back(sessions: int | None, opens: float | None) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "keys.toml"
        key = make_key(path, "kitchen", sessions, opens)
        assert ApiKeys(path, Allowance()).client(key).allowance == Allowance(sessions, opens)


def test_a_key_is_saved_where_only_its_owner_reads_it_and_over_nothing(tmp_path: Path) -> None:
    path, out = tmp_path / "keys.toml", tmp_path / "kitchen.key"
    save_key(out, path, "kitchen", sessions=2)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert ApiKeys(path, DEFAULT).client(out.read_text().strip()).name == "the API key kitchen"
    with pytest.raises(KeyFileError, match=r"kitchen\.key: there is such a file already"):
        save_key(out, path, "garden")
    with pytest.raises(KeyFileError, match="a key named kitchen already"):
        save_key(tmp_path / "again.key", path, "kitchen")
    assert not (tmp_path / "again.key").exists()  # nothing of a key that was not made
    assert list(read_key_file(path)) == ["kitchen"]


def test_make_key_writes_the_key_to_a_file_and_prints_nothing(tmp_path: Path) -> None:
    path, out = tmp_path / "keys.toml", tmp_path / "kitchen.key"
    arguments = ["make-key", "kitchen", "--api-keys", str(path), "--sessions", "1000000", "--out", str(out)]
    made = CliRunner().invoke(commands, arguments)
    assert (made.exit_code, made.output) == (0, "")
    assert read_key_file(path)["kitchen"].sha256 == digest(out.read_text().strip())
    assert "sessions = 1000000\n" in path.read_text()


@pytest.mark.parametrize("key", [None, "", "antiphon_wrong", "é" * 40])
def test_a_missing_or_wrong_key_is_nobodys(key: str | None, tmp_path: Path) -> None:
    make_key(tmp_path / "keys.toml", "kitchen")
    with pytest.raises(UnauthenticatedError) as raised:
        ApiKeys(tmp_path / "keys.toml", DEFAULT).client(key)
    assert not key or key not in str(raised.value)


BAD_FILES = {
    "no such file": (None, "cannot be read: No such file"),
    "no TOML": ("[keys", "is no file of API keys"),
    "no hash": ("[keys.a]\nsessions = 1\n", r"missing required field `sha256`.*\$\.keys"),
    "the key itself": ('[keys.a]\nsha256 = "antiphon_abc"\n', r"\$\.keys.*sha256"),
    "an unknown limit": (f'[keys.a]\nsha256 = "{digest("x")}"\nsession = 1\n', "unknown field `session`"),
    "no session at all": (f'[keys.a]\nsha256 = "{digest("x")}"\nsessions = 0\n', ">= 1"),
    "another table": ("[key.a]\n", "unknown field `key`"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_key_file_is_named_with_the_place(case: str, tmp_path: Path) -> None:
    text, words = BAD_FILES[case]
    path = tmp_path / "keys.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(KeyFileError, match=words) as raised:
        ApiKeys(path, DEFAULT)
    assert str(path) in str(raised.value)


def test_a_changed_file_is_followed_and_a_bad_one_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "keys.toml"
    kitchen = make_key(path, "kitchen")
    keys = ApiKeys(path, DEFAULT)
    garden = make_key(path, "garden")
    assert keys.client(garden).name == "the API key garden"
    path.write_text("[keys")
    assert keys.client(kitchen).name == "the API key kitchen"
    assert "the old API keys stay" in caplog.text
    path.unlink()
    assert keys.client(kitchen).name == "the API key kitchen"
    path.write_text("")
    with pytest.raises(UnauthenticatedError):
        keys.client(kitchen)


def keyed(path: Path, slots_of: Allowance = DEFAULT) -> StubOptions:
    return StubOptions(config=ServerConfig(listen="127.0.0.1:0", api_keys=path, allowance=slots_of))


async def test_only_a_known_key_gets_in_and_health_needs_none(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    kitchen = Credentials(api_key=make_key(path, "kitchen"))
    served = tmp_path / "served"
    served.mkdir()
    (served / "codec.json").write_bytes(b"{}")
    async with stub_server(replace(keyed(path), codec_files=codec_files(served))) as server:
        async with connect(server.address, CODEC, credentials=kitchen) as session:
            assert session.id
        await pull_codec(server.address, tmp_path / "cache", credentials=kitchen)
        for stranger in (Credentials(), Credentials(api_key="antiphon_stolen")):
            with pytest.raises(UnauthenticatedError):
                async with connect(server.address, CODEC, credentials=stranger):
                    pass
            with pytest.raises(UnauthenticatedError):
                await pull_codec(server.address, tmp_path / "cache", credentials=stranger)
        async with grpc.aio.insecure_channel(server.address) as channel:
            health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("authorization", "Basic abc")], "UNAUTHENTICATED"),
        ([("authorization", "Bearer a"), ("authorization", "Bearer b")], "UNAUTHENTICATED"),
        ([("authorization", "Bearer ")], "UNAUTHENTICATED"),
        ([("x-api-key", "abc")], "UNAUTHENTICATED"),
    ],
)
async def test_a_header_that_is_no_key_gets_its_status(
    tmp_path: Path, headers: list[tuple[str, str]], status: str
) -> None:
    make_key(tmp_path / "keys.toml", "kitchen")
    async with (
        stub_server(keyed(tmp_path / "keys.toml")) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        stub = dialogue_pb2_grpc.DialogueServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.GetModel(pb.GetModelRequest(), metadata=headers)
    assert raised.value.code().name == status


async def test_each_key_has_its_own_sessions_and_a_new_one_gets_in_when_one_ends(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    kitchen = Credentials(api_key=make_key(path, "kitchen", sessions=1))
    garden = Credentials(api_key=make_key(path, "garden"))
    async with stub_server(keyed(path)) as server, connect(server.address, CODEC, credentials=kitchen):
        with pytest.raises(NoFreeSlotError, match="the API key kitchen has 1 sessions") as raised:
            async with connect(server.address, CODEC, credentials=kitchen):
                pass
        assert raised.value.retry_after_s >= 1
        async with connect(server.address, CODEC, credentials=garden) as session:
            assert session.id
            await session.end()
            assert await session.receive() is None


async def test_a_key_that_opens_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    kitchen = Credentials(api_key=make_key(path, "kitchen", opens_per_minute=2))
    async with stub_server(keyed(path)) as server:
        for _ in range(2):
            async with connect(server.address, CODEC, credentials=kitchen) as session:
                await session.end()
                assert await session.receive() is None
        with pytest.raises(NoFreeSlotError, match="opens more than 2 sessions a minute") as raised:
            async with connect(server.address, CODEC, credentials=kitchen):
                pass
    assert 20 < raised.value.retry_after_s <= 30


async def test_without_keys_an_address_is_a_client() -> None:
    config = ServerConfig(listen="127.0.0.1:0", allowance=Allowance(sessions=1))
    async with stub_server(StubOptions(config=config)) as server, connect(server.address, CODEC):
        with pytest.raises(NoFreeSlotError, match=r"the address ipv4:127\.0\.0\.1 has 1 sessions"):
            async with connect(server.address, CODEC):
                pass


def test_make_key_prints_the_key_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    made = run("antiphon-cloud", "make-key", "kitchen", "--api-keys", path, "--sessions", "2")
    assert made.status == 0, made.err
    assert read_key_file(path)["kitchen"].sha256 == digest(made.out.strip())
    again = run("antiphon-cloud", "make-key", "kitchen", "--api-keys", path)
    assert "a key named kitchen already" in one_sentence(again)
    assert "no name for a key" in one_sentence(run("antiphon-cloud", "make-key", "a b", "--api-keys", path))
    assert "cannot be written" in one_sentence(run("antiphon-cloud", "make-key", "a", "--api-keys", "/dev/full/keys"))
    assert len(read_key_file(path)) == 1


def test_serving_with_a_bad_key_file_is_one_sentence(tmp_path: Path) -> None:
    served = run("antiphon-cloud", "serve", "--model", "m", "--api-keys", tmp_path / "gone.toml")
    assert "gone.toml: cannot be read" in one_sentence(served)


def resuming(opened: pb.Opened) -> pb.ConverseRequest:
    """An Open that goes on with a session of which no frame was stepped yet."""
    kept = History(SPEC, 1000).to_message()
    fingerprint = CODEC.fingerprint
    return pb.ConverseRequest(
        open=pb.Open(codec_fingerprint=fingerprint, history=kept, resume_token=opened.resume_token)
    )


async def test_a_session_goes_on_for_the_key_that_opened_it_and_for_no_other(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    kitchen, garden = (Credentials(api_key=make_key(path, name)).metadata for name in ("kitchen", "garden"))
    options = keyed(path)
    async with stub_server(options) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = dialogue_pb2_grpc.DialogueServiceStub(channel)
        first = stub.Converse(metadata=kitchen)
        await first.write(pb.ConverseRequest(open=pb.Open(codec_fingerprint=CODEC.fingerprint)))
        opened = (await first.read()).opened

        thief = stub.Converse(metadata=garden)
        await thief.write(resuming(opened))
        assert await thief.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "belongs to another client" in (await thief.details() or "")

        second = stub.Converse(metadata=kitchen)
        await second.write(resuming(opened))
        assert (await second.read()).opened.session_id == opened.session_id
        second.cancel()
        count = server.server.worker.metrics.registry.get_sample_value
        assert count("antiphon_refusals_total", {"reason": "permission_denied"}) == 1
        assert count("antiphon_resumes_total", {"how": "slot"}) == 1


def test_of_several_keys_those_without_a_limit_of_their_own_leave_the_last_slot(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    bulk = make_key(path, "bulk")
    keys = ApiKeys(path, Allowance())
    assert not keys.client(bulk).allowance.leaves_last_slot  # alone
    kitchen = make_key(path, "kitchen", sessions=4)
    keys.reload()
    assert keys.client(bulk).allowance.leaves_last_slot
    assert not keys.client(kitchen).allowance.leaves_last_slot
    assert not ApiKeys(path, Allowance(sessions=3)).client(bulk).allowance.leaves_last_slot
