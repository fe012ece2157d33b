"""A worker that others can reach: TLS, mutual TLS, and plaintext only where it was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from antiphon.errors import UnavailableError
from antiphon.tls import CertificateError, ExposedError
from antiphon_cloud.server.access.tls import TlsFiles
from antiphon_cloud.server.process import Server, ServerConfig
from antiphon_edge import Credentials, connect, pull_codec
from antiphon_edge.errors import CredentialsError
from tests.support.certificates import PAST, Files, issue
from tests.support.commands import call, one_sentence, run, worker
from tests.support.ports import unused_address
from tests.support.servers import CODEC, StubOptions, codec_files, stub_server


def serving(files: Files, client_ca: Path | None = None) -> StubOptions:
    tls = TlsFiles(files.certificate, files.key, client_ca)
    return StubOptions(config=ServerConfig(listen="localhost:0", tls=tls))


async def opens(address: str, credentials: Credentials) -> bool:
    async with connect(address, CODEC, credentials=credentials) as session:
        return bool(session.id)


async def test_a_session_and_a_codec_cross_tls(tmp_path: Path) -> None:
    files = issue(tmp_path / "tls")
    (tmp_path / "codec").mkdir()
    (tmp_path / "codec/codec.json").write_text("{}")
    options = serving(files)
    options.codec_files = codec_files(tmp_path / "codec")
    trusting = Credentials(tls=True, ca=files.ca)
    async with stub_server(options) as server:
        assert await opens(server.address, trusting)
        pulled = await pull_codec(server.address, tmp_path / "cache", credentials=trusting)
    assert (pulled / "codec.json").read_text() == "{}"


BAD_SERVERS: dict[str, tuple[dict[str, Any], str]] = {
    "an expired certificate": (PAST, "its certificate has expired"),
    "a certificate for another name": ({"host": "worker.example"}, "its certificate is for another name"),
    "a certificate of an unknown authority": ({"by": "theirs"}, "an authority that is not trusted here"),
}


@pytest.mark.parametrize("case", BAD_SERVERS)
async def test_an_edge_refuses(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how, words = BAD_SERVERS[case]
    monkeypatch.setattr("antiphon.tls._handshake_refusal", lambda *ends: None)  # the worker would not serve it
    trusted = issue(tmp_path / "trusted")
    async with stub_server(serving(issue(tmp_path / "bad", **how))) as server:
        with pytest.raises(CredentialsError, match=words) as raised:
            await opens(server.address, Credentials(tls=True, ca=trusted.ca))
    assert server.address in str(raised.value)


async def test_mutual_tls_lets_in_who_shows_a_certificate_of_the_authority(tmp_path: Path) -> None:
    files, client = issue(tmp_path / "worker"), issue(tmp_path / "edge", "edge.example", by="clients")
    stranger = issue(tmp_path / "stranger", "edge.example", by="strangers")
    async with stub_server(serving(files, client_ca=client.ca)) as server:
        assert await opens(
            server.address,
            Credentials(tls=True, ca=files.ca, client_cert=client.certificate, client_key=client.key),
        )
        for cert, key in [(None, None), (stranger.certificate, stranger.key)]:
            with pytest.raises(UnavailableError, match="client certificate"):
                await opens(server.address, Credentials(tls=True, ca=files.ca, client_cert=cert, client_key=key))


async def test_one_side_without_tls_is_told_which(tmp_path: Path) -> None:
    files = issue(tmp_path)
    async with stub_server(serving(files)) as server:
        with pytest.raises(UnavailableError, match=r"it may ask for TLS \(`tls`\)"):
            await opens(server.address, Credentials())
    async with stub_server(StubOptions(config=ServerConfig(listen="localhost:0"))) as server:
        with pytest.raises(CredentialsError, match="it does not speak TLS"):
            await opens(server.address, Credentials(tls=True, ca=files.ca))


async def test_a_new_certificate_is_served_without_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = issue(tmp_path)
    old = Credentials(tls=True, ca=files.ca)
    async with stub_server(serving(files)) as server:
        assert await opens(server.address, old)
        renewed = issue(tmp_path / "renewed", by="a new authority")
        for file in (files.key, files.certificate):
            (tmp_path / "renewed" / file.name).replace(file)
        assert await opens(server.address, Credentials(tls=True, ca=renewed.ca))
        files.certificate.write_text("half a file")
        assert await opens(server.address, Credentials(tls=True, ca=renewed.ca))
    assert "the old one stays" in caplog.text


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
async def test_plaintext_for_other_machines_must_be_asked_for(listen: str) -> None:
    server = Server(ServerConfig(listen=listen))
    with pytest.raises(ExposedError, match="--tls-cert and --tls-key, or --insecure"):
        await server.bind()
    await server.stop()
    server = Server(ServerConfig(listen="0.0.0.0:0", insecure=True))
    assert (await server.bind()).startswith("0.0.0.0:")
    await server.stop()


@pytest.mark.parametrize("api_key", [None, "secret-key"])
async def test_an_edge_sends_nothing_in_plaintext_to_another_machine(api_key: str | None) -> None:
    with pytest.raises(CredentialsError, match="use `tls`, or `insecure`") as raised:
        await opens("192.0.2.1:50051", Credentials(api_key=api_key))
    assert ("the API key" in str(raised.value)) is (api_key is not None)
    Credentials(api_key=api_key, insecure=True).check("192.0.2.1:50051")
    Credentials(api_key=api_key, tls=True).check("192.0.2.1:50051")


def test_an_api_key_is_never_shown() -> None:
    assert "secret-key" not in repr(Credentials(api_key="secret-key"))


async def test_a_certificate_that_cannot_be_used_ends_the_worker_at_once(tmp_path: Path) -> None:
    files = issue(tmp_path, **PAST)
    with pytest.raises(CertificateError, match="has expired"):
        Server(ServerConfig(listen="localhost:0", tls=TlsFiles(files.certificate, files.key)))


CLOUD_USAGE = {
    "a certificate without its key": (["--tls-cert", "c.pem"], "--tls-cert and --tls-key belong together", 2),
    "an authority without a certificate": (["--tls-client-ca", "c.pem"], "--tls-client-ca needs", 2),
    "plaintext for everyone": (["--listen", "0.0.0.0:0"], "--listen 0.0.0.0:0 is reached from other machines", 1),
    "a certificate that is not there": (["--tls-cert", "gone.pem", "--tls-key", "gone.pem"], "gone.pem: cannot be", 1),
}


@pytest.mark.parametrize("case", CLOUD_USAGE)
def test_a_worker_that_cannot_be_exposed_says_so_in_one_sentence(case: str) -> None:
    arguments, words, status = CLOUD_USAGE[case]
    assert words in one_sentence(call("antiphon-cloud", "serve", "--model", "m", *arguments), status=status)


EDGE_USAGE = {
    "plaintext": (["--server", "worker.example:1"], "worker.example:1 is another machine", 1),
    "a client certificate without its key": (["--tls-client-cert", "c.pem"], "belong together", 2),
    "authorities that are not there": (["--tls-ca", "gone.pem"], "gone.pem: cannot be read", 1),
    "no key in the key file": (["--api-key-file", "/dev/null"], "holds no API key", 1),
}


@pytest.mark.parametrize("case", EDGE_USAGE)
def test_an_edge_that_may_not_connect_says_so_in_one_sentence(case: str) -> None:
    arguments, words, status = EDGE_USAGE[case]
    assert words in one_sentence(run("antiphon-edge", "pull", *arguments), status=status)


def test_a_key_from_the_environment_is_kept_out_of_every_message() -> None:
    failed = run(
        "antiphon-edge", "--log-level", "debug", "pull", "--server", unused_address(), ANTIPHON_API_KEY="hush-hush"
    )
    assert failed.status == 1
    assert "hush-hush" not in failed.err + failed.out


def test_a_conversation_by_the_commands_crosses_mutual_tls_with_a_key(
    golden: Path, tiny_codec: Path, tmp_path: Path
) -> None:
    here = issue(tmp_path / "worker", "127.0.0.1")
    edge = issue(tmp_path / "edge", "edge.example", by="clients")
    key_file = tmp_path / "kitchen.key"
    key_file.write_text(run("antiphon-cloud", "make-key", "kitchen", "--api-keys", tmp_path / "keys.toml").out)
    soundfile.write(tmp_path / "question.wav", 0.1 * np.sin(np.arange(24_000) * 0.1), 24_000)
    with worker(
        "--model", golden / "moshi-tiny", "--codec", tiny_codec, "--api-keys", tmp_path / "keys.toml",
        "--tls-cert", here.certificate, "--tls-key", here.key, "--tls-client-ca", edge.ca,
        "--metrics-listen", "127.0.0.1:0",
    ) as served:  # fmt: skip
        safe = (
            "--server", served.address, "--tls-ca", here.ca,
            "--tls-client-cert", edge.certificate, "--tls-client-key", edge.key,
        )  # fmt: skip
        wavs = ("--codec", tiny_codec, "--input-wav", tmp_path / "question.wav", "--output-wav", tmp_path / "reply.wav")
        talk = ("antiphon-edge", "talk", *safe, *wavs, "--as-fast-as-possible")
        assert "does not know the API key" in one_sentence(run(*talk, ANTIPHON_API_KEY="antiphon_wrong"))
        talked = run(*talk, "--api-key-file", key_file)
    assert talked.status == 0, talked.err
    assert soundfile.info(tmp_path / "reply.wav").frames >= 24_000
