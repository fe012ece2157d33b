"""What is said of a call, and of callers who are not let in: each line of the log, and what is counted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from antiphon.errors import UnauthenticatedError
from antiphon.serving.collector import Tracing
from antiphon.serving.key_edit import make_key
from antiphon_edge.client.events import Reconnecting, Resumed
from antiphon_gateway.access.admission import Rules
from antiphon_gateway.access.visitor import Visitor
from antiphon_gateway.calls.record import CallRecord, Watch
from antiphon_gateway.metrics import Metrics
from tests.support.collector import collector
from tests.support.frames_client import frames
from tests.support.gateways import gateway
from tests.support.servers import StubOptions, codec_files, stub_server
from tests.support.time_travel import until

KITCHEN = Visitor("the API key kitchen", proven=True)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, str | float]]]:
    return [(record.getMessage(), record.antiphon_fields) for record in caplog.records]  # type: ignore[attr-defined]


def test_a_call_is_said_from_its_opening_to_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    watch = Watch(Metrics())
    call = CallRecord(watch, "chat", KITCHEN, "ab" * 16, "a:1")
    call.frame(0.02)
    call.changed(Reconnecting("the worker is draining"), "a:1")
    call.changed(Resumed("b:1", 0.1, 1), "b:1")
    call.frame(0.5, late=True)
    call.end("OK")
    names = {"conversation": "ab" * 16, "door": "chat", "client": "the API key kitchen"}
    assert lines(caplog) == [
        ("call opened", names | {"step": 0, "worker": "a:1"}),
        ("call lost its worker", names | {"worker": "a:1"}),
        ("call goes on", names | {"worker": "b:1", "step": 1}),
        ("call ended", names | {"status": "OK", "frames": 2, "late": 1}),
    ]
    value = watch.metrics.registry.get_sample_value
    assert value("antiphon_gateway_client_sessions_total", {"client": "the API key kitchen"}) == 1
    assert value("antiphon_gateway_client_frames_total", {"client": "the API key kitchen"}) == 2
    assert value("antiphon_gateway_calls_ended_total", {"door": "chat", "status": "OK"}) == 1


async def test_callers_of_the_page_and_whoever_is_not_let_in_are_said_with_who_and_why(
    tiny_codec: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "antiphon_gateway")
    caplog.set_level("INFO", "antiphon.serving")
    key = make_key(tmp_path / "keys.toml", "kitchen")
    rules = Rules(api_keys=tmp_path / "keys.toml")
    async with (
        stub_server(StubOptions(codec_files=codec_files(tiny_codec))) as worker,
        gateway([worker.address], access=rules) as server,
    ):
        async with frames(server.address, f"/v1/frames?token={key}") as edge:
            await edge.open(conversation="cd" * 16)
            await edge.step()
            await edge.step()
        await until(lambda: "call ended" in caplog.messages)
        with pytest.raises(UnauthenticatedError):
            server.gateway.access.admit("10.0.0.9", {}, ["antiphon_wrong"])
        status = await asyncio.to_thread(_status_with_a_wrong_key, server.address)
    assert status == 401
    names = {"conversation": "cd" * 16, "door": "frames", "client": "the API key kitchen"}
    assert lines(caplog) == [
        ("call opened", names | {"step": 0}),
        ("call ended", names | {"status": "OK", "frames": 2, "late": 0}),
        ("call refused", {"door": "gate", "client": "the address 127.0.0.1", "reason": "unauthenticated"}),
    ]
    assert key not in caplog.text
    assert "antiphon_wrong" not in caplog.text


async def test_a_call_is_a_span_in_the_trace_of_its_conversation(tiny_codec: Path) -> None:
    with collector() as spans:
        async with (
            stub_server(StubOptions(codec_files=codec_files(tiny_codec))) as worker,
            gateway([worker.address], tracing=Tracing(spans.address)) as server,
            frames(server.address) as edge,
        ):
            await edge.open(conversation="cd" * 16)
            await edge.step()
    (call,) = spans.named("call")
    assert (call.service, call.trace, call.parent) == ("antiphon-gateway", "cd" * 16, "cd" * 8)
    assert (call.fields["antiphon.door"], call.fields["antiphon.frames"]) == ("frames", 1)
    assert call.events == ["call opened"]


def _status_with_a_wrong_key(address: str) -> int:
    import urllib.error
    import urllib.request

    request = urllib.request.Request(f"http://{address}/v1/model", headers={"Authorization": "Bearer antiphon_wrong"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
