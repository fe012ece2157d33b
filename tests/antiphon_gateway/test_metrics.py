"""What operators count of the gateway."""

from __future__ import annotations

from prometheus_client import generate_latest

from antiphon_gateway.metrics import Metrics


def test_calls_are_counted_by_door_and_how_they_ended() -> None:
    metrics = Metrics()
    metrics.watch("calls", lambda: 3)
    metrics.opened("chat")
    metrics.ended("chat", "OK")
    metrics.refused("realtime", "RESOURCE_EXHAUSTED")
    metrics.resumed()
    told = generate_latest(metrics.registry).decode()
    for line in (
        "antiphon_gateway_calls 3.0",
        'antiphon_gateway_calls_opened_total{door="chat"} 1.0',
        'antiphon_gateway_calls_ended_total{door="chat",status="OK"} 1.0',
        'antiphon_gateway_refusals_total{door="realtime",status="RESOURCE_EXHAUSTED"} 1.0',
        "antiphon_gateway_resumes_total 1.0",
    ):
        assert line in told
