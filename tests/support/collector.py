"""An OpenTelemetry collector that keeps what it is sent: the stub of OTLP's own gRPC service."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc


@dataclass
class Collected:
    """A span."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    fields: dict[str, Any]
    events: list[str]
    failed: bool
    took_ns: int


@dataclass
class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """The service."""

    address: str = ""
    spans: list[Collected] = field(default_factory=list)

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Spans have come."""
        for resource in request.resource_spans:
            about = _fields(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [_collected(about["service.name"], span) for span in scope.spans]
        return pb.ExportTraceServiceResponse()

    def named(self, name: str) -> list[Collected]:
        """The spans of a name, in the order of their coming."""
        return [span for span in self.spans if span.name == name]


def _collected(service: str, span: Any) -> Collected:
    return Collected(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _fields(span.attributes),
        [event.name for event in span.events],
        span.status.code == span.status.STATUS_CODE_ERROR,
        span.end_time_unix_nano - span.start_time_unix_nano,
    )


def _fields(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector, until the block ends."""
    server, service = grpc.server(ThreadPoolExecutor(2)), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(service, server)
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield service
    finally:
        server.stop(None).wait()
