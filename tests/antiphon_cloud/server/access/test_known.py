"""A worker that takes an issuer's tokens: whose session it is, when it ends, and keys beside them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from antiphon.errors import AntiphonError, UnauthenticatedError
from antiphon.serving.key_edit import make_key
from antiphon_cloud.server.access.known import KnownClients
from antiphon_cloud.server.process import ServerConfig
from antiphon_cloud.sessions.clients import Allowance
from antiphon_edge import Credentials, connect
from tests.support.issuer import rules, token
from tests.support.servers import CODEC, StubOptions, stub_server
from tests.support.time_travel import Clock

DEFAULT = Allowance(sessions=3)
CODES = np.arange(8, dtype=np.int32)


def known(folder: Path, keys: Path | None = None) -> KnownClients:
    found = KnownClients.given(keys, rules(folder), DEFAULT)
    assert found is not None
    return found


def test_a_client_is_named_by_the_subject_of_its_token(tmp_path: Path) -> None:
    expires_s = int(time.time()) + 60
    client = known(tmp_path).client(token(sub="kitchen", exp=expires_s))
    assert (client.name, client.allowance, client.proven) == ("the token of kitchen", DEFAULT, True)
    assert client.expires_s == expires_s


def test_keys_and_tokens_open_beside_each_other(tmp_path: Path) -> None:
    key = make_key(tmp_path / "keys.toml", "kitchen")
    both = known(tmp_path, tmp_path / "keys.toml")
    assert both.client(key).name == "the API key kitchen"
    assert both.client(token()).name == "the token of kitchen"
    with pytest.raises(UnauthenticatedError, match="is for another audience"):
        both.client(token(aud="elsewhere"))
    with pytest.raises(UnauthenticatedError, match="asks for an API key"):
        both.client(None)


def test_a_reload_gives_another_allowance_and_reads_the_issuers_keys(tmp_path: Path) -> None:
    clients = known(tmp_path)
    clients.settle(Allowance(sessions=1))
    clients.reload()
    assert clients.client(token()).allowance == Allowance(sessions=1)


async def test_a_session_ends_with_its_token(tmp_path: Path, clock: Clock) -> None:
    options = StubOptions(config=ServerConfig(listen="127.0.0.1:0", token_rules=rules(tmp_path)))
    mine = Credentials(api_key=token(exp=int(time.time()) + 3600))
    async with stub_server(options) as server:
        with pytest.raises(UnauthenticatedError, match="asks for a token"):
            async with connect(server.address, CODEC):
                pass
        async with connect(server.address, CODEC, credentials=mine) as session:
            await session.send(CODES)
            await session.receive()
            (live,) = server.server.worker.served.sessions._by_token.values()
            assert live.client.name == "the token of kitchen"
            await clock.outlast(3600.0)
            with pytest.raises(AntiphonError) as ended:
                await session.receive()
    assert isinstance(ended.value, UnauthenticatedError)
    assert str(ended.value).startswith("the token of kitchen has expired, and its session with it")
