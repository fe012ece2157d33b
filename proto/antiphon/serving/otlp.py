"""Spans to an OpenTelemetry collector by OTLP over gRPC; needs the extra `otlp`.

A thread of its own sends what has ended. At most `QUEUED` spans wait for it, and the oldest are lost when more come: a
collector that is slow or gone holds up nobody.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags, set_span_in_context

from antiphon.serving.tracing import Fields

logger = logging.getLogger(__name__)

QUEUED = 2048
SEND_EVERY_S = 5.0
SEND_S = 3.0  # that a try may take, and the end
SPAN_ID = 2**64 - 1  # the bits of a span's id
NAMESPACE = "antiphon."


class OtlpTraces:
    """Sends spans; `collector.open_traces` makes it.

    Args:
        endpoint: `http://HOST:PORT`, or with https.
        about: of the process, as OpenTelemetry names it: `service.name` and others.
        hops_every: frames of one breakdown.
    """

    def __init__(self, endpoint: str, about: Mapping[str, str], hops_every: int) -> None:
        self.hops_every = hops_every
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a try's failure; `_Exporter` says it once
        self._ids = _Ids()
        self._processor = BatchSpanProcessor(
            _Exporter(endpoint), max_queue_size=QUEUED, schedule_delay_millis=SEND_EVERY_S * 1000
        )
        provider = TracerProvider(resource=Resource.create(dict(about)), id_generator=self._ids, shutdown_on_exit=False)
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("antiphon")

    def begin(self, name: str, conversation: str, fields: Fields, *, first: bool) -> OtlpSpan:
        """The span of a session that begins now; see `tracing.Traces`."""
        trace_id = int(conversation or "0", 16) or self._ids.generate_trace_id()
        root = trace_id & SPAN_ID or 1
        context = Context()
        if first:
            self._ids.next = [root, trace_id]
        else:
            parent = SpanContext(trace_id, root, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
            context = set_span_in_context(NonRecordingSpan(parent), context)
        span = self._tracer.start_span(name, context, attributes=_named(fields))
        return OtlpSpan(self._tracer, span)

    def close(self) -> None:
        """Sends what waits, for `SEND_S` at the most."""
        closing = threading.Thread(target=self._processor.shutdown, name="otlp-end", daemon=True)
        closing.start()
        closing.join(SEND_S)


class OtlpSpan:
    """One session's span.

    Args:
        tracer: makes its parts.
        span: begun.
    """

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer, self._span = tracer, span
        self._part_ns = time.time_ns()  # when the next part begins

    def event(self, name: str, fields: Fields) -> None:
        """Something happened, now."""
        self._span.add_event(name, _named(fields))

    def part(self, name: str, fields: Fields) -> None:
        """The time since the last part, as a child."""
        context = set_span_in_context(self._span, Context())
        part = self._tracer.start_span(name, context, start_time=self._part_ns, attributes=_named(fields))
        self._part_ns = time.time_ns()
        part.end(self._part_ns)

    def end(self, status: str, fields: Fields) -> None:
        """The session has ended."""
        self._span.set_attributes(_named(fields) | {"rpc.grpc.status": status})
        self._span.set_status(Status(StatusCode.OK) if status == "OK" else Status(StatusCode.ERROR, status))
        self._span.end()


class _Ids(RandomIdGenerator):
    """Random ids, but for those that were chosen."""

    def __init__(self) -> None:
        self.next: list[int] = []  # a span's id and its trace's, taken from the end

    def generate_trace_id(self) -> int:
        """The chosen one, or any."""
        return self.next.pop() if len(self.next) == 2 else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """The chosen one, or any."""
        return self.next.pop() if self.next else super().generate_span_id()


class _Exporter(SpanExporter):
    """Sends to the collector, and says when it stops taking spans, and when it takes them again."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._exporter = OTLPSpanExporter(endpoint=endpoint, timeout=SEND_S)
        self._taken = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends spans; those that are not taken are lost."""
        result = self._exporter.export(spans)
        taken = result is SpanExportResult.SUCCESS
        if taken is not self._taken:
            if taken:
                logger.warning("the collector at %s takes spans again", self._endpoint)
            else:
                logger.warning("the collector at %s takes no spans: they are lost meanwhile", self._endpoint)
        self._taken = taken
        return result

    def shutdown(self) -> None:
        """Gives up what is under way."""
        with suppress(Exception):  # of a channel that a try is opening
            self._exporter.shutdown()


def _named(fields: Fields) -> dict[str, str | float]:
    """The fields under names that nobody else uses."""
    return {NAMESPACE + name: value for name, value in fields.items()}
