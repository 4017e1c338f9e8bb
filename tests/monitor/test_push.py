"""Metrics reach each place, under the names and dimensions that its alarms look for."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import google.auth
import pytest
from google.auth.credentials import AnonymousCredentials
from moto import mock_aws
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from roadworthy.errors import InputError, OutsideError
from roadworthy.monitor.alarms import TARGETS, Place, alarm_list
from roadworthy.monitor.export import Sample, to_embedded
from roadworthy.monitor.push import PUSHES, PushPlace
from roadworthy.monitor.service import ServiceMeter
from roadworthy.project.monitor import MonitorSection
from tests.conftest import Trained, free_port
from tests.monitor.test_report import run, serve

FINDING = {"model": "loans", "kind": "drift", "severity": "warning", "subject": "âge"}
SAMPLES = [
    Sample("roadworthy_findings", FINDING, 1),
    Sample("roadworthy_model_age_days", {"model": "loans"}, 3.5),
    Sample("roadworthy_certificate_days", {"model": "loans", "file": "server.pem"}, 9.0),
    Sample("roadworthy_request_duration_seconds", {"model": "loans"}, 0.02, ((0.01, 9), (0.1, 1))),
]


class Capture(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted; answers tokens on GET, as the identity endpoint of App Service does."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.kept.append((self.path, dict(self.headers), body))  # type: ignore[attr-defined]
        self._answer(self.server.status, b"")  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        page = getattr(self.server, "page", None)
        ends = int(time.time()) + 3600
        token = {"access_token": "secret", "expires_on": ends, "token_type": "Bearer"}
        self._answer(200, page.encode() if page is not None else json.dumps(token).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def capture() -> Iterator[Any]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Capture) as server:
        server.kept, server.status = [], 200  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def address(server: Any) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        yield boto3.client("cloudwatch")


def test_cloudwatch_has_a_metric_for_every_alarm_on_what_monitoring_knows(aws: Any) -> None:
    taken = PUSHES["cloudwatch"].push(SAMPLES, PushPlace(), time.time())
    assert taken == 6  # findings and certificates under fewer dimensions, too
    listed = aws.list_metrics(Namespace="Roadworthy")["Metrics"]
    there = {
        (each["MetricName"], tuple((d["Name"], d["Value"]) for d in each["Dimensions"]))
        for each in listed
    }
    files = TARGETS["cloudwatch"].render(alarm_list(MonitorSection()), Place("loans"))
    alarms = {
        each["AlarmName"].rpartition("-")[2]: each
        for each in json.loads(files["cloudwatch-alarms.json"])
    }
    for name in ("certificate", "stale_model", "latency", "drift"):
        wanted = alarms[name]
        metrics = [each["MetricStat"]["Metric"] for each in wanted.get("Metrics", ())
                   if "MetricStat" in each] or [wanted]  # fmt: skip
        assert there & {
            (each["MetricName"], tuple((d["Name"], d["Value"]) for d in each["Dimensions"]))
            for each in metrics
        }, name
    assert {value for _, each in there for name, value in each if name == "subject"} == {"\\xe2ge"}


def test_embedded_metrics_come_under_the_same_dimensions() -> None:
    first = json.loads(to_embedded(SAMPLES, 1.0).splitlines()[0])
    sets = first["_aws"]["CloudWatchMetrics"][0]["Dimensions"]
    assert sets == [list(FINDING), ["model", "kind"]]


def decoded(server: Any) -> dict[str, list[Any]]:
    ((path, _, body),) = server.kept
    assert path == "/v1/metrics"
    request = ExportMetricsServiceRequest.FromString(body)
    (resource,) = request.resource_metrics
    attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
    metrics = {
        each.name: list(each.gauge.data_points) for each in resource.scope_metrics[0].metrics
    }
    return {**metrics, "resource": [attributes]}


def test_a_collector_gets_gauges(capture: Any) -> None:
    place = PushPlace(None, address(capture))
    assert PUSHES["otlp"].push(SAMPLES, place, time.time()) == 4
    found = decoded(capture)
    (point,) = found["roadworthy_findings"]
    assert {each.key: each.value.string_value for each in point.attributes} == FINDING
    assert found["roadworthy_model_age_days"][0].as_double == 3.5


def test_google_is_told_whose_project_it_is(capture: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    default = AnonymousCredentials(), "my-project"
    monkeypatch.setattr(google.auth, "default", lambda scopes: default)
    PUSHES["google"].push(SAMPLES, PushPlace(None, address(capture)), time.time())
    assert decoded(capture)["resource"][0]["gcp.project_id"] == "my-project"


def test_azure_gets_series_of_a_resource_with_a_token_of_its_own(
    capture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{address(capture)}/token")
    monkeypatch.setenv("IDENTITY_HEADER", "header")
    place = PushPlace("/subscriptions/one/vm", address(capture))
    assert PUSHES["azure"].push(SAMPLES, place, time.time()) == 4
    paths = {urlsplit(path).path for path, _, _ in capture.kept}
    assert paths == {"/subscriptions/one/vm/metrics"}
    assert {headers["Authorization"] for _, headers, _ in capture.kept} == {"Bearer secret"}
    bodies = [json.loads(body)["data"]["baseData"] for _, _, body in capture.kept]
    by_name = {each["metric"]: each for each in bodies}
    slow = by_name["roadworthy_request_duration_seconds"]["series"][0]
    assert (slow["min"], slow["max"], slow["count"]) == (0.01, 0.1, 10)
    assert slow["sum"] == pytest.approx(0.19)
    assert by_name["roadworthy_findings"]["dimNames"] == sorted(FINDING)
    assert {each["namespace"] for each in bodies} == {"roadworthy"}


@pytest.mark.parametrize("name", ["otlp", "azure", "cloudwatch"])
def test_a_place_that_refuses_or_is_away_is_told_of(
    capture: Any, monkeypatch: pytest.MonkeyPatch, name: str, aws: Any
) -> None:
    capture.status = 400
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{address(capture)}/token")
    monkeypatch.setenv("IDENTITY_HEADER", "header")
    place = PushPlace("/subscriptions/one", address(capture))
    if name != "cloudwatch":  # moto answers for AWS wherever it is
        with pytest.raises(OutsideError, match="did not take") as told:
            PUSHES[name].push(SAMPLES, place, time.time())
        assert "secret" not in str(told.value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    away = PushPlace("/subscriptions/one", f"http://127.0.0.1:{free_port()}")
    if name != "otlp":  # the exporter tries for ten seconds
        with pytest.raises(OutsideError, match="did not take"):
            PUSHES[name].push(SAMPLES, away, time.time())


@pytest.mark.parametrize("name", ["azure", "otlp"])
def test_a_place_that_is_not_known_is_asked_for(name: str) -> None:
    with pytest.raises(InputError, match=r"resource|address"):
        PUSHES[name].push(SAMPLES, PushPlace(), time.time())


def page(requests: int, failed: int, slow: int) -> str:
    return f"""# TYPE roadworthy_requests_total counter
roadworthy_requests_total{{model="loans",route="/predict",code="200"}} {requests}
roadworthy_requests_total{{model="loans",route="/predict",code="500"}} {failed}
roadworthy_requests_total{{model="other",route="/predict",code="200"}} 999
# TYPE roadworthy_request_duration_seconds histogram
roadworthy_request_duration_seconds_bucket{{model="loans",le="0.01"}} {requests - slow}
roadworthy_request_duration_seconds_bucket{{model="loans",le="+Inf"}} {requests}
roadworthy_request_duration_seconds_count{{model="loans"}} {requests}
roadworthy_request_duration_seconds_sum{{model="loans"}} 1
"""


def test_a_servers_counters_are_told_as_what_came_since_the_last_look(capture: Any) -> None:
    meter = ServiceMeter(f"{address(capture)}/metrics", "loans")
    capture.page = page(100, 1, 0)
    assert {each.name: each.value for each in meter.look()} == {"roadworthy_up": 1.0}
    capture.page = page(150, 4, 10)
    found = {each.name: each for each in meter.look()}
    assert found["roadworthy_requests_total"].value == 53
    assert found["roadworthy_errors_total"].value == 3
    assert found["roadworthy_request_duration_seconds"].counts == ((0.01, 40), (1.0, 10))
    capture.page = page(20, 0, 0)  # it began anew
    assert {each.name: each.value for each in meter.look()}["roadworthy_requests_total"] == 20
    capture.page = "no metrics { here"
    assert [each.value for each in meter.look() if each.name == "roadworthy_up"] == [0.0]
    away = ServiceMeter(f"http://127.0.0.1:{free_port()}/metrics", "loans")
    assert [(each.name, each.value) for each in away.look()] == [("roadworthy_up", 0.0)]


def test_watching_and_exporting_send_what_they_know(
    bundles: dict[str, Trained], tmp_path: Path, aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = bundles["binary"]
    serve(trained, tmp_path / "counts", 3, broken=True)
    file = tmp_path / "roadworthy.toml"
    file.write_text(
        f"[monitor]\ncounts = {json.dumps(str(tmp_path / 'counts'))}\n"
        "push = ['cloudwatch', 'otlp']\n"
        f"alarm_state = {json.dumps(str(tmp_path / 'alarms.json'))}\n"
    )
    code, _ = run("monitor", "watch", trained.bundle.path, "--times", 1, "--project", file)
    assert code == 0  # the collector that is not known stops neither the other nor the watch
    names = {each["MetricName"] for each in aws.list_metrics(Namespace="Roadworthy")["Metrics"]}
    assert {"roadworthy_findings", "roadworthy_model_age_days"} <= names
    code, text = run(
        "monitor", "export", "--to", "cloudwatch", "--model", trained.bundle.path,
        "--project", file,
    )  # fmt: skip
    assert code == 0
    assert "were sent to cloudwatch" in text
    with pytest.raises(InputError, match="no place for metrics"):
        run("monitor", "export", "--to", "x", "--model", trained.bundle.path, "--project", file)
