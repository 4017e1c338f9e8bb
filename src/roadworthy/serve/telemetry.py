"""OpenTelemetry: a span a request and the worker's counts, sent by OTLP over HTTP.

The path of a request makes two random numbers and keeps a tuple; spans are made of them and sent in
a thread. What finds no room, because the collector is slow or away, is counted instead of kept.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
import socket
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import roadworthy
from roadworthy.errors import OutsideError
from roadworthy.project import ServeSection
from roadworthy.serve.messages import Request, Response

if TYPE_CHECKING:
    from roadworthy.serve.metrics import Tally

log = logging.getLogger("roadworthy.serve")
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_MAX_SPANS = 20_000
_BATCH = 512
_TIMEOUT = 5.0


class Trace(NamedTuple):
    """Where a request stands in a trace (W3C Trace Context).

    Attributes:
        trace: Id of the trace, 32 hexadecimal digits.
        span: Id of our span, 16 hexadecimal digits.
        parent: The caller's span; empty for none.
        sampled: Whether the span is sent.
    """

    trace: str
    span: str
    parent: str
    sampled: bool

    @property
    def header(self) -> str:
        """The header `traceparent` of what we answer."""
        return f"00-{self.trace}-{self.span}-{'01' if self.sampled else '00'}"


class _Span(NamedTuple):
    trace: Trace
    method: str
    route: str
    status: int
    ended: int
    seconds: float
    request_id: str
    model: str


class Telemetry:
    """Sends what a worker did.

    Args:
        options: `[serve]`: `otlp`, `otlp_sample`.

    Attributes:
        dropped: Spans that found no room or could not be sent.

    Raises:
        OutsideError: The library is missing.
    """

    def __init__(self, options: ServeSection) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError:
            raise OutsideError(
                "OpenTelemetry's exporter is missing",
                where="serve.otlp",
                fix="pip install roadworthy[otel]",
            ) from None
        root = str(options.otlp).rstrip("/")
        self._spans = OTLPSpanExporter(endpoint=f"{root}/v1/traces", timeout=_TIMEOUT)
        self._metrics = OTLPMetricExporter(endpoint=f"{root}/v1/metrics", timeout=_TIMEOUT)
        self._sample = options.otlp_sample
        self._resource = _resource()
        self._waiting: list[_Span] = []
        self._began = time.time_ns()
        self._random = random.Random(os.urandom(16))
        self.dropped = 0

    def begin(self, request: Request) -> Trace:
        """The caller's trace, or a new one; a caller who samples decides for us."""
        bits = self._random.getrandbits
        given = _PARENT.fullmatch(request.head.headers.get("traceparent", ""))
        span = f"{bits(64) or 1:016x}"
        if given is not None and given[1] != "0" * 32 and given[2] != "0" * 16:
            return Trace(given[1], span, given[2], bool(int(given[3], 16) & 1))
        return Trace(f"{bits(128) or 1:032x}", span, "", self._random.random() < self._sample)

    def mark(self, request: Request, response: Response) -> Response:
        """Begin a span for a request, and say so in its answer."""
        request.trace = trace = self.begin(request)
        return response._replace(headers=(*response.headers, ("traceparent", trace.header)))

    def end(self, request: Request, route: str, model: str, status: int, seconds: float) -> None:
        """Keep the span of a request that was answered."""
        trace = request.trace
        if trace is None or not trace.sampled:
            return
        if len(self._waiting) >= _MAX_SPANS:
            self.dropped += 1
            return
        method, now = request.head.method, time.time_ns()
        self._waiting.append(_Span(trace, method, route, status, now, seconds, request.id, model))

    async def flush(self, tally: Tally) -> None:
        """Send spans and counts, in a thread."""
        spans, self._waiting = self._waiting, []
        await asyncio.to_thread(self.send, spans, tally)

    def close(self, tally: Tally) -> None:
        """Send what is left."""
        self.send(self._waiting, tally)
        self._waiting = []

    def send(self, spans: list[_Span], tally: Tally) -> None:
        """Send spans and counts; what the collector does not take is lost and counted."""
        from opentelemetry.sdk.metrics.export import MetricExportResult
        from opentelemetry.sdk.trace.export import SpanExportResult

        for start in range(0, len(spans), _BATCH):
            some = spans[start : start + _BATCH]
            made = []
            for span in some:
                made.append(self._made(span))
                time.sleep(0)  # let the loop answer: a thread keeps Python to itself for 5 ms
            if self._spans.export(made) is not SpanExportResult.SUCCESS:
                self.dropped += len(spans) - start
                log.error("the collector took no spans: %d are lost", len(spans) - start)
                return
        if self._metrics.export(self._data(tally)) is not MetricExportResult.SUCCESS:
            log.error("the collector took no metrics")

    def _made(self, span: _Span) -> Any:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def context(text: str, remote: bool) -> SpanContext:
            trace = int(span.trace.trace, 16)
            return SpanContext(trace, int(text, 16), remote, TraceFlags(1))

        failed = span.status >= 500
        return ReadableSpan(
            f"{span.method} {span.route}",
            context(span.trace.span, remote=False),
            context(span.trace.parent, remote=True) if span.trace.parent else None,
            self._resource,
            {
                "http.request.method": span.method,
                "http.route": span.route,
                "http.response.status_code": span.status,
                "roadworthy.request_id": span.request_id,
                "roadworthy.model": span.model,
            },
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=span.ended - int(span.seconds * 1e9),
            end_time=span.ended,
            instrumentation_scope=_scope(),
        )

    def _data(self, tally: Tally) -> Any:
        from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics

        from roadworthy.serve.telemetry_metrics import metrics_of

        found = metrics_of(tally, self._began, time.time_ns())
        return MetricsData(
            [ResourceMetrics(self._resource, [ScopeMetrics(_scope(), found, "")], "")]
        )


def _scope() -> Any:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    return InstrumentationScope("roadworthy.serve", roadworthy.__version__)


def _resource() -> Any:
    """Who sends; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` come first."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    ours = Resource(
        {
            "service.name": "roadworthy",
            "service.version": roadworthy.__version__,
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
        }
    )
    return ours.merge(OTELResourceDetector().detect())
