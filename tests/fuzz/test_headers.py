"""Whatever a call says in its headers, it gets a status that says what is wrong with it, and leaves no traceback."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.serving.key_edit import make_key
from antiphon.v1 import dialogue_pb2 as pb
from antiphon.v1 import dialogue_pb2_grpc
from antiphon_cloud.server.process import ServerConfig
from tests.fuzz.worker_under_fire import serving
from tests.support.servers import StubOptions

printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
schemes = st.sampled_from(["", "Basic ", "Bearer", "Bearer ", "Digest ", "Bearer antiphon_", "Bearer a, "])
values = st.builds(lambda scheme, rest: scheme + rest, schemes, printable)
others = st.tuples(st.sampled_from(["x-api-key", "user-agent", "cookie", "grpc-trace"]), printable)
binary = st.tuples(st.just("authorization-bin"), st.binary(max_size=40))


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    make_key(path, "kitchen")
    config = ServerConfig(listen="127.0.0.1:0", api_keys=path)
    with serving(StubOptions(config=config)) as server, grpc.insecure_channel(server.address) as opened:
        yield opened


@given(st.lists(values.map(lambda value: ("authorization", value)), max_size=3), st.lists(others | binary, max_size=3))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_header_is_taken_for_a_key(
    channel: grpc.Channel,
    caplog: pytest.LogCaptureFixture,
    authorization: list[tuple[str, str]],
    rest: list[tuple[str, str | bytes]],
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        dialogue_pb2_grpc.DialogueServiceStub(channel).GetModel(
            pb.GetModelRequest(), metadata=[*authorization, *rest], timeout=60
        )
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert {record.name for record in warned} <= {"antiphon.serving.refusal_log"}
