"""OpenTelemetry over HTTP: any collector, and Google Cloud, which takes it itself.

Google turns what comes into metrics of Managed Prometheus, which our alert policies ask in PromQL.
https://cloud.google.com/stackdriver/docs/otlp-metrics/overview
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from roadworthy.errors import InputError
from roadworthy.monitor.export import HELP, Sample
from roadworthy.monitor.push._base import PushPlace, missing, refused

if TYPE_CHECKING:
    import requests

_GOOGLE = "https://telemetry.googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_SECONDS = 10.0


class Collector:
    """Any OpenTelemetry collector."""

    name = "otlp"

    def push(self, found: Sequence[Sample], place: PushPlace, now: float) -> int:
        """See `PushTarget`."""
        if not place.endpoint:
            raise InputError(
                "the collector's address is not known",
                where="[monitor] push_endpoint",
                fix="http://HOST:4318",
            )
        return _send(found, place.endpoint, None, {}, now)


class GoogleCloud:
    """Google Cloud's own OTLP endpoint, with application default credentials."""

    name = "google"

    def push(self, found: Sequence[Sample], place: PushPlace, now: float) -> int:
        """See `PushTarget`."""
        try:
            import google.auth
            from google.auth.exceptions import GoogleAuthError
            from google.auth.transport.requests import AuthorizedSession
        except ImportError:
            raise missing("google-auth", "gcp,otel") from None
        try:
            credentials, project = google.auth.default(scopes=[_SCOPE])
            wanted = place.resource or project
            if not wanted:
                raise InputError(
                    "the project is not known",
                    where="[monitor] push_resource",
                    fix="the id of the Google Cloud project",
                )
            session: requests.Session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
            about = {"gcp.project_id": wanted}
            return _send(found, place.endpoint or _GOOGLE, session, about, now)
        except GoogleAuthError as error:
            raise refused("Google Cloud", error) from None


def _send(
    found: Sequence[Sample],
    endpoint: str,
    session: requests.Session | None,
    about: dict[str, str],
    now: float,
) -> int:
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics.export import (
            Gauge,
            Metric,
            MetricExportResult,
            MetricsData,
            NumberDataPoint,
            ResourceMetrics,
            ScopeMetrics,
        )
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    except ImportError:
        raise missing("OpenTelemetry's exporter", "otel") from None
    moment = int(now * 1e9)
    points: dict[str, list[NumberDataPoint]] = {}
    for sample in found:
        point = NumberDataPoint(dict(sample.labels), moment, moment, float(sample.value))
        points.setdefault(sample.name, []).append(point)
    metrics = [Metric(name, HELP[name], "", Gauge(its)) for name, its in points.items()]
    resource = Resource({"service.name": "roadworthy-monitor", **about})
    scope = ScopeMetrics(InstrumentationScope("roadworthy"), metrics, "")
    data = MetricsData([ResourceMetrics(resource, [scope], "")])
    address = f"{endpoint.rstrip('/')}/v1/metrics"
    exporter = OTLPMetricExporter(endpoint=address, session=session, timeout=_SECONDS)
    try:
        if exporter.export(data) is not MetricExportResult.SUCCESS:
            raise refused(endpoint, "see the log")
    finally:
        exporter.shutdown()
    return len(found)
