"""Nothing that can be read, and nothing that stays on this machine, goes through a proxy; what does is told."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from antiphon.errors import UnavailableError
from antiphon_edge.client.connect import connect
from antiphon_edge.codec.pull import pull_codec
from antiphon_edge.transport.channel import open_channel
from antiphon_edge.transport.credentials import Credentials
from antiphon_edge.transport.proxy import EXCEPTIONS, VARIABLES, Proxy, find_proxy
from tests.support.certificates import issue
from tests.support.ports import unused_address
from tests.support.proxies import LoggingProxy, logging_proxy
from tests.support.servers import CODEC, StubOptions, codec_files, stub_server
from tests.test_exposed import serving
from tools import ROOT


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LoggingProxy]:
    """A proxy that every variable names."""
    for name in (*EXCEPTIONS, *(name.upper() for name in VARIABLES)):
        monkeypatch.delenv(name, raising=False)
    async with logging_proxy() as running:
        for name in VARIABLES:
            monkeypatch.setenv(name, f"http://user:secret@{running.address}")
        monkeypatch.setenv("GRPC_ADDRESS_HTTP_PROXY", running.address)
        monkeypatch.setenv("GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES", "0.0.0.0/0,::/0")
        yield running


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_plaintext_to_this_machine_goes_there_directly(host: str, proxy: LoggingProxy, tmp_path: Path) -> None:
    (tmp_path / "codec").mkdir()
    (tmp_path / "codec/codec.json").write_text("{}")
    async with stub_server(StubOptions(codec_files=codec_files(tmp_path / "codec"))) as server:
        address = f"{host}:{server.address.rpartition(':')[2]}"
        async with connect(address, CODEC, credentials=Credentials(api_key="sk-secret-key")) as session:
            await session.send(np.zeros(8, np.int32))
        await pull_codec(address, tmp_path / "cache")
    assert proxy.asked == []


async def test_tls_to_this_machine_goes_there_directly(proxy: LoggingProxy, tmp_path: Path) -> None:
    files = issue(tmp_path)
    trusting = Credentials(tls=True, ca=files.ca)
    async with stub_server(serving(files)) as server, open_channel(server.address, trusting):
        pass
    assert proxy.asked == []


async def test_plaintext_to_another_machine_goes_there_directly(proxy: LoggingProxy) -> None:
    address = unused_address().replace("127.0.0.1", "127.0.0.1.invalid")  # a name that nobody has
    with pytest.raises(UnavailableError, match=f"no worker answers at {re.escape(address)}: check the address"):
        async with open_channel(address, Credentials(insecure=True, api_key="sk-secret-key")):
            pass
    assert proxy.asked == []


async def test_tls_to_another_machine_may_use_a_proxy_and_the_error_names_it(
    proxy: LoggingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRPC_ADDRESS_HTTP_PROXY")
    with pytest.raises(UnavailableError) as caught:
        async with open_channel("worker.invalid:443", Credentials(tls=True)):
            pass
    assert str(caught.value).startswith(
        f"no worker answers at worker.invalid:443 through the proxy {proxy.address} (grpc_proxy): "
    )
    assert "CONNECT worker.invalid:443 HTTP/1.1" in proxy.asked


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, None),
        ({"http_proxy": "http://p:1"}, Proxy("http_proxy", "p:1")),
        ({"http_proxy": "http://p:1", "https_proxy": "http://user:secret@q:2/"}, Proxy("https_proxy", "q:2")),
        ({"http_proxy": "http://p:1", "grpc_proxy": ""}, None),
        ({"http_proxy": "http://p:1", "no_proxy": "example.org, .invalid"}, None),
        ({"http_proxy": "http://p:1", "no_proxy": "other"}, Proxy("http_proxy", "p:1")),
        ({"http_proxy": "http://p:1", "no_proxy": "worker.invalid", "no_grpc_proxy": "x"}, Proxy("http_proxy", "p:1")),
    ],
)
def test_the_proxy_is_the_one_that_grpc_takes(
    variables: dict[str, str], found: Proxy | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*VARIABLES, *EXCEPTIONS):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_proxy("worker.invalid:443", tls=True) == found


def test_a_network_of_addresses_is_excepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, *EXCEPTIONS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://p:1")
    monkeypatch.setenv("no_proxy", "10.0.0.0/8")
    assert find_proxy("10.1.2.3:443", tls=True) is None
    assert find_proxy("11.1.2.3:443", tls=True) == Proxy("https_proxy", "p:1")


async def test_what_runs_beside_a_worker_asks_no_proxy(proxy: LoggingProxy) -> None:
    file = ROOT / "cloud/deploy/kubernetes/worker/deletion_cost.py"
    spec = importlib.util.spec_from_file_location("deletion_cost", file)
    assert spec is not None
    assert spec.loader is not None
    deletion_cost = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(deletion_cost)
    with pytest.raises(URLError, match="refused"):
        deletion_cost.sessions(f"http://{unused_address()}/metrics")
    assert proxy.asked == []


def test_channels_and_addresses_are_opened_where_proxies_are_thought_of() -> None:
    sources = [path for room in ("proto", "edge", "gateway", "cloud", "tools") for path in (ROOT / room).rglob("*.py")]
    opening = {str(path.relative_to(ROOT)) for path in sources if "secure_channel(" in path.read_text()}
    assert opening == {
        "edge/antiphon_edge/transport/channel.py",
        "cloud/antiphon_cloud/server/access/rate_limit_service.py",  # asked directly
    }
    assert not [path for path in sources if "urlopen(" in path.read_text()]
