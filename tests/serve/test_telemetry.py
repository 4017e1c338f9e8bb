"""Traces and metrics, as a collector receives them over OTLP."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from roadworthy.project import ServeSection
from roadworthy.serve.messages import Head, Request
from roadworthy.serve.telemetry import Telemetry
from tests.conftest import Trained, free_port, serving
from tests.serve.test_bad_input import ROW
from tests.serve.test_http import wait_for

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
JSON = {"Content_Type": "application/json"}


class Collector:
    """Takes what is exported and keeps it."""

    def __init__(self) -> None:
        self.spans: list = []
        self.metrics: dict = {}
        self.resources: list = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                outer.take(self.path, body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append(attributes(group.resource))
                for scope in group.scope_spans:
                    self.spans += scope.spans
        elif path == "/v1/metrics":
            for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in group.scope_metrics:
                    self.metrics |= {metric.name: metric for metric in scope.metrics}


def attributes(holder) -> dict:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in holder.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.server.shutdown()
    running.server.server_close()


def test_a_collector_receives_spans_and_counts(
    bundles: dict[str, Trained],
    tmp_path: Path,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "income")
    (tmp_path / "roadworthy.toml").write_text(
        f"[serve]\notlp = '{collector.address}'\notlp_seconds = 1\n"
    )
    body = json.dumps(ROW).encode()
    with serving(bundles["binary"].bundle.path, cwd=tmp_path) as server:
        given_trace = {"Traceparent": f"00-{TRACE}-{PARENT}-01"}
        first = server.request("POST", "/predict?secret=1", body, **JSON, **given_trace)
        unsampled = {"Traceparent": f"00-{TRACE}-{PARENT}-00"}
        second = server.request("POST", "/predict", body, **JSON, **unsampled)
        server.predict([ROW] * 3)
        refused = server.request("POST", "/predict", b"{}", **JSON)
        server.get("/secret-path")
        wait_for(lambda: len([s for s in collector.spans if "predict" in s.name]) == 3)
        wait_for(lambda: "roadworthy.rows" in collector.metrics)
    traced = [span for span in collector.spans if span.trace_id.hex() == TRACE]
    assert len(traced) == 1  # the caller did not want the other one
    (span,) = traced
    assert first[1]["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
    assert second[1]["traceparent"].startswith(f"00-{TRACE}-")
    assert second[1]["traceparent"].endswith("-00")
    assert (span.name, span.parent_span_id.hex()) == ("POST /predict", PARENT)
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 5e9
    told = attributes(span)
    assert told["roadworthy.request_id"] == first[1]["x-request-id"]
    assert (told["http.route"], told["http.response.status_code"]) == ("/predict", 200)
    assert refused[1]["traceparent"].split("-")[1] in {s.trace_id.hex() for s in collector.spans}
    assert "secret" not in str(collector.spans)
    assert {one["service.name"] for one in collector.resources} == {"income"}
    (rows,) = collector.metrics["roadworthy.rows"].sum.data_points
    assert rows.as_int == 5
    (durations,) = collector.metrics["roadworthy.request.duration"].histogram.data_points
    assert durations.count == sum(durations.bucket_counts) == 3


def test_a_collector_that_is_away_holds_nobody_up(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    (tmp_path / "roadworthy.toml").write_text(
        f"[serve]\notlp = 'http://127.0.0.1:{free_port()}'\notlp_seconds = 1\ndrain_seconds = 1\n"
    )
    with serving(bundles["binary"].bundle.path, cwd=tmp_path) as server:
        for _ in range(20):
            assert server.predict(ROW)[0] == 200
        wait_for(lambda: any("are lost" in line for line in server.log))
        assert server.predict(ROW)[0] == 200
    assert "Traceback" not in "".join(server.log)


@given(header=st.text(max_size=70) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-0[01]"))
def test_any_header_continues_a_trace_or_begins_one(header: str) -> None:
    telemetry = Telemetry(ServeSection(otlp="http://127.0.0.1:1"))
    head = Head("GET", "/", "", {"traceparent": header}, 0, True, None)
    trace = telemetry.begin(Request(head, b"", "", "id"))
    assert trace.trace in header or not trace.parent
    assert len(trace.header) == 55
    assert set(trace.trace) != {"0"}


def test_spans_without_room_are_counted_and_a_sample_is_a_sample() -> None:
    telemetry = Telemetry(ServeSection(otlp="http://127.0.0.1:1", otlp_sample=0.25))
    taken = 0
    for _ in range(2000):
        request = Request(Head("GET", "/", "", {}, 0, True, None), b"", "", "id")
        request.trace = telemetry.begin(request)
        taken += request.trace.sampled
        telemetry.end(request, "/", "m", 200, 0.001)
    assert 350 < taken < 650
    for _ in range(25_000):
        request.trace = request.trace._replace(sampled=True)
        telemetry.end(request, "/", "m", 200, 0.001)
    assert telemetry.dropped == 25_000 + taken - 20_000
