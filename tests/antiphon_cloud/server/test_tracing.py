"""Traces: a span a session, all of a conversation in one trace whatever workers carry it, and nobody waits for them."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

import numpy as np
import pytest

from antiphon.errors import AntiphonError
from antiphon.serving.collector import Tracing, open_traces
from antiphon.serving.tracing import NO_TRACES
from antiphon_cloud.server.process import ServerConfig
from antiphon_edge import connect
from antiphon_edge.client.reconnect import LIVE
from tests.support.collector import Collector, collector
from tests.support.commands import call, one_sentence
from tests.support.ports import unused_address
from tests.support.servers import CODEC, StubOptions, stub_server
from tests.support.time_travel import NET_S

CODES = np.arange(8, dtype=np.int32)


def traced(address: str, every: int = 2) -> StubOptions:
    config = ServerConfig(listen="127.0.0.1:0", drain_s=NET_S, tracing=Tracing(address, every))
    return StubOptions(config=config, history_steps=100)


async def moved_once(to: Collector) -> str:
    """A conversation of three frames at one worker and two at the next, when the first one drains."""
    async with stub_server(traced(to.address)) as first, stub_server(traced(to.address)) as second:
        addresses = [first.address, second.address]
        async with connect(addresses, CODEC, reconnect=replace(LIVE, patience_s=NET_S)) as session:
            for _ in range(3):
                await session.send(CODES)
                await session.receive()
            draining = asyncio.create_task(first.server.drain())
            for _ in range(2):
                await session.send(CODES)
                await session.receive()
            await draining
            for _ in range(2):
                await session.send(CODES)
                await session.receive()
            await session.end()
            assert await session.receive() is None
            return session.conversation


async def test_a_conversation_that_moves_is_one_trace_of_a_span_for_each_worker() -> None:
    with collector() as spans:
        conversation = await moved_once(spans)
    first, second = sorted(spans.named("session"), key=lambda span: span.parent)
    assert {span.trace for span in spans.spans} == {conversation}
    assert (first.id, first.parent) == (conversation[16:], "")
    assert second.parent == first.id
    assert {span.service for span in spans.spans} == {"antiphon-worker"}
    assert first.events[:2] == ["session opened", "session is asked to move"]
    assert second.events[0] == "session is rebuilt"
    assert first.fields["antiphon.frames"] + second.fields["antiphon.frames"] >= 7
    assert second.fields["rpc.grpc.status"] == "OK"
    assert not second.failed


async def test_where_the_time_of_frames_went_is_a_span_for_each_few() -> None:
    with collector() as spans:
        await moved_once(spans)
    sessions = {span.id for span in spans.named("session")}
    parts = spans.named("frames")
    assert all(part.parent in sessions and part.took_ns > 0 for part in parts)
    assert {part.fields["antiphon.frames"] for part in parts} == {1, 2}
    hops = {f"antiphon.{hop}_{what}_ms" for hop in ("wait", "step", "send") for what in ("mean", "most")}
    assert all(hops <= part.fields.keys() for part in parts)
    assert all(0 <= part.fields["antiphon.step_mean_ms"] <= part.fields["antiphon.step_most_ms"] for part in parts)


async def test_without_a_collector_a_session_goes_on_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antiphon.serving.otlp.SEND_S", 0.5)
    monkeypatch.setattr("antiphon.serving.otlp.SEND_EVERY_S", 0.01)
    async with (
        stub_server(traced(unused_address(), every=1)) as server,
        connect(server.address, CODEC) as session,
    ):
        while "takes no spans" not in caplog.text:
            await session.send(CODES)
            assert await session.receive() is not None
        await session.end()
        assert await session.receive() is None
    assert sum("takes no spans" in message for message in caplog.messages) == 1


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ("127.0.0.1:4317", "http://127.0.0.1:4317"),
        ("https://collector.example:4317", "https://collector.example:4317"),
        ("http://collector.example:4317", "http://collector.example:4317"),
    ],
)
def test_a_collector_may_be_elsewhere_where_the_operator_says_how(given: str, endpoint: str) -> None:
    assert Tracing(given).endpoint == endpoint


@pytest.mark.parametrize(
    ("given", "words"),
    [("collector.example:4317", "give https://collector.example:4317, or http://"), ("nowhere", "HOST:PORT")],
)
def test_an_address_that_cannot_be_used_is_one_sentence(given: str, words: str) -> None:
    assert words in one_sentence(call("antiphon-cloud", "serve", "--otlp", given), status=1)


def test_without_opentelemetry_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "antiphon.serving.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(AntiphonError, match=r"pip install 'antiphon\[otlp\]'"):
        open_traces(Tracing("127.0.0.1:4317"), "antiphon-worker", "127.0.0.1:1")


def test_nobody_who_did_not_ask_sends_a_span() -> None:
    assert open_traces(None, "antiphon-worker", "127.0.0.1:1") is NO_TRACES
