"""The gateway's process: readiness, TLS, a drain, and what it says where it cannot start."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import aiohttp
import pytest

from antiphon.errors import AntiphonError
from antiphon.tls import ExposedError
from antiphon_gateway.server.config import GatewayConfig, Workers
from antiphon_gateway.server.process import Server
from antiphon_gateway.server.tls import TlsFiles
from tests.support.certificates import issue
from tests.support.chat_client import chat
from tests.support.commands import environment, one_sentence, run
from tests.support.gateways import gateway
from tests.support.ports import unused_address
from tests.support.time_travel import NET_S, Clock, until
from tools.harness.worker_process import BIN, Worker

HERE = "127.0.0.1:0"


def fetch(address: str | None, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=NET_S) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def test_it_is_ready_once_a_worker_has_answered_and_not_while_it_drains(clerk: Worker) -> None:
    config = GatewayConfig(Workers((clerk.address,)), listen=HERE, metrics_listen=HERE, drain_s=60)
    async with Server(config) as server:

        async def look(path: str) -> tuple[int, str]:
            return await asyncio.to_thread(fetch, server.metrics_address, path)

        assert await look("/readyz") == (503, "no worker has answered yet\n")
        assert (await look("/healthz"))[0] == 200
        async with chat(server.address) as early:
            await early.take()
        assert early.errors == ["no worker for a dialogue has answered this gateway: ask its operator, or try again"]
        await server.find_workers()
        assert await look("/readyz") == (200, "ok\n")
        async with chat(server.address) as client:
            await client.greet()
            assert "antiphon_gateway_calls 1.0" in (await look("/metrics"))[1]
            draining = asyncio.create_task(server.drain())
            await until(lambda: server.gateway.capacity.draining)
            assert await look("/readyz") == (503, "draining\n")
            async with chat(server.address) as late:
                await late.take()
            assert late.errors == ["this gateway is about to end: connect again, to another one"]
            assert not draining.done()
        await draining


async def test_who_is_left_when_the_drain_is_over_is_told_to_connect_again(clerk: Worker, clock: Clock) -> None:
    async with gateway([clerk.address], drain_s=500.0) as server, chat(server.address) as client:
        await client.greet()
        draining = asyncio.create_task(server.drain())
        await clock.outlast(500.0)
        await draining
        ending = asyncio.create_task(server.hang_up())
        while (message := await client.socket.receive()).type is aiohttp.WSMsgType.BINARY:
            pass
        await ending
    assert (message.data, message.extra) == (1012, "this gateway ends: connect again")


async def test_it_waits_for_a_worker_that_is_not_there_yet(clerk: Worker) -> None:
    async with gateway([unused_address(), clerk.address]) as server:
        assert server.gateway.dialogue is not None
        async with chat(server.address) as client:
            await client.greet()


async def test_tls_is_spoken_to_clients(clerk: Worker, tmp_path: Path) -> None:
    files = issue(tmp_path)
    tls = TlsFiles(files.certificate, files.key)
    async with gateway([clerk.address], listen="localhost:0", tls=tls) as server:
        trusting = ssl.create_default_context(cafile=str(files.ca))
        url = f"https://{server.address}/v1/health"
        async with aiohttp.ClientSession() as http, http.get(url, ssl=trusting) as answer:
            assert answer.status == 200


async def test_a_new_certificate_is_served_after_a_reload_and_a_bad_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = issue(tmp_path)
    tls = TlsFiles(files.certificate, files.key)

    async def greets(server: Server, authority: Path) -> int:
        trusting = ssl.create_default_context(cafile=str(authority))
        async with aiohttp.ClientSession() as http, http.get(f"https://{server.address}/", ssl=trusting) as answer:
            return answer.status

    async with Server(GatewayConfig(Workers(), listen="localhost:0", tls=tls)) as server:
        assert await greets(server, files.ca)
        renewed = issue(tmp_path / "renewed", by="a new authority")
        for file in (files.key, files.certificate):
            (tmp_path / "renewed" / file.name).replace(file)
        server.reload()
        assert await greets(server, renewed.ca)
        files.certificate.write_text("half a file")
        server.reload()
        assert await greets(server, renewed.ca)
    assert "the old one stays" in caplog.text


async def test_a_renewed_certificate_is_served_to_who_comes_and_who_is_there_goes_on(
    clerk: Worker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files, renewed = issue(tmp_path), issue(tmp_path / "renewed", by="a new authority")
    tls = TlsFiles(files.certificate, files.key)
    async with gateway([clerk.address], listen="localhost:0", tls=tls) as server:
        site = f"https://{server.address}"

        async def answers(ca: Path) -> int:
            """The status for a new connection of who trusts in that authority."""
            connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(ca)))
            async with aiohttp.ClientSession(connector=connector) as http, http.get(f"{site}/v1/health") as answer:
                return answer.status

        old = ssl.create_default_context(cafile=str(files.ca))
        async with aiohttp.ClientSession() as http, http.ws_connect(f"{site}/api/chat", ssl=old) as early:
            for file in (files.key, files.certificate):
                (tmp_path / "renewed" / file.name).replace(file)
            assert await answers(renewed.ca) == 200
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await answers(files.ca)
            assert (await early.receive()).data == b"\x00"  # the handshake of a call that goes on
            files.certificate.write_text("half a file")
            assert await answers(renewed.ca) == 200
            assert await answers(renewed.ca) == 200
            files.key.unlink()
            assert await answers(renewed.ca) == 200
    complaints = [record.getMessage() for record in caplog.records if "the old one stays" in record.getMessage()]
    assert len(complaints) == 2, "one for each change"
    assert str(files.key) in complaints[1]


async def test_plaintext_for_other_machines_must_be_asked_for() -> None:
    with pytest.raises(ExposedError, match="--tls-cert and --tls-key, or --insecure"):
        async with Server(GatewayConfig(Workers(), listen="0.0.0.0:0")):
            pass
    async with Server(GatewayConfig(Workers(), listen="0.0.0.0:0", insecure=True)) as server:
        assert server.address.startswith("0.0.0.0:")


async def test_a_port_in_use_and_a_page_that_is_none_are_one_sentence(tmp_path: Path) -> None:
    async with Server(GatewayConfig(Workers(), listen=HERE)) as server:
        with pytest.raises(AntiphonError, match=f"cannot listen on {server.address}: .*choose another with --listen"):
            async with Server(GatewayConfig(Workers(), listen=server.address)):
                pass
    with pytest.raises(AntiphonError, match=r"has no index\.html"):
        async with Server(GatewayConfig(Workers(), listen=HERE, static=tmp_path)):
            pass


async def test_a_page_is_served_with_what_lies_beside_it_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("<p>hello")
    (page / "app.js").write_text("1")
    (tmp_path / "secret").write_text("2")
    async with Server(GatewayConfig(Workers(), listen=HERE, static=page)) as server:

        async def get(path: str) -> tuple[int, str]:
            return await asyncio.to_thread(fetch, server.address, path)

        assert await get("/") == (200, "<p>hello")
        assert await get("/app.js") == (200, "1")
        assert (await get("/%2e%2e/secret"))[0] in (403, 404)
        assert (await get("/v1/nothing"))[0] == 404


def heard(manager: socket.socket) -> str:
    """The first line of what a service manager is told next."""
    return manager.recv(1024).decode().partition("\n")[0]


def test_the_command_serves_until_sigterm(clerk: Worker, tmp_path: Path) -> None:
    command: list[str | Path] = [
        BIN / "antiphon-gateway",
        "serve",
        "--server",
        clerk.address,
        "--listen",
        HERE,
        "--cache",
        tmp_path,
    ]
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(NET_S)
    env = environment() | {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    with (
        manager,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as it,
    ):
        assert it.stdout is not None
        assert it.stderr is not None
        address = it.stdout.readline().removeprefix("listening on ").strip()
        it.send_signal(signal.SIGHUP)
        assert fetch(address, "/v1/health")[0] == 200
        assert [heard(manager) for _ in range(3)] == ["READY=1", "RELOADING=1", "READY=1"]
        it.send_signal(signal.SIGTERM)
        assert heard(manager) == "STOPPING=1"
        it.send_signal(signal.SIGHUP)
        assert it.wait(NET_S) == 0
        assert it.stderr.read() == ""


USAGE = {
    "plaintext for everyone": (["--listen", "0.0.0.0:0"], "is reached from other machines", 1),
    "a certificate without its key": (["--tls-cert", "c.pem"], "--tls-cert and --tls-key belong together", 2),
    "a worker that is no address": (["--server", "here"], "'here' is no HOST:PORT", 2),
    "keys that are not there": (["--api-keys", "gone.toml"], "gone.toml: cannot be read", 1),
    "a secret that is not there": (["--token-secret-file", "gone"], "gone: cannot be read", 1),
}


@pytest.mark.parametrize("case", USAGE)
def test_a_gateway_that_cannot_be_started_says_so_in_one_sentence(case: str) -> None:
    arguments, words, status = USAGE[case]
    assert words in one_sentence(run("antiphon-gateway", "serve", *arguments), status=status)
