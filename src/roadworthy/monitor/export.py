"""What monitoring knows as metrics: findings, quality, estimates, ages.

In the Prometheus text format, for a scrape through the node exporter's textfile collector or a
Pushgateway; and as a line of CloudWatch's embedded metric format, which any log agent of AWS turns
into metrics.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from roadworthy.bundle import Bundle
from roadworthy.errors import InputError
from roadworthy.monitor.advice import Situation
from roadworthy.monitor.alarms.cloudwatch import NAMESPACE
from roadworthy.monitor.findings import Finding

HELP = {
    "roadworthy_findings": "Findings of monitoring.",
    "roadworthy_quality": "Realised quality.",
    "roadworthy_quality_estimated": "Quality estimated without labels; blind to concept drift.",
    "roadworthy_labelled": "Recent predictions whose label is known.",
    "roadworthy_model_age_days": "Days since the model was made.",
    "roadworthy_certificate_days": "Days until a certificate ends.",
    "roadworthy_disk_used_share": "Share of the disk of the prediction log that is used.",
    "roadworthy_up": "Whether the server answers.",
    "roadworthy_requests_total": "Answers since the last look.",
    "roadworthy_errors_total": "Answers with 5xx since the last look.",
    "roadworthy_log_dropped_total": "Rows that the prediction log lost since the last look.",
    "roadworthy_request_duration_seconds": "Mean duration of answers since the last look.",
}
_ROLLED_UP = {
    "roadworthy_findings": (("model", "kind"),),
    "roadworthy_certificate_days": (("model",),),
}
"""Fewer dimensions under which alarms look for a metric, where a place knows exact ones only."""


class Sample(NamedTuple):
    """One value of a metric.

    Attributes:
        name: The metric.
        labels: Its dimensions.
        value: The value; of a distribution the mean.
        counts: Of a distribution: values, and how often each came.
    """

    name: str
    labels: Mapping[str, str]
    value: float
    counts: tuple[tuple[float, int], ...] = ()


def dimension_sets(sample: Sample) -> list[tuple[str, ...]]:
    """The sets of dimensions under which a sample is told."""
    rolled = _ROLLED_UP.get(sample.name, ())
    return [tuple(sample.labels), *(keys for keys in rolled if set(keys) < set(sample.labels))]


def samples(
    bundle: Bundle,
    situation: Situation | None = None,
    *,
    findings: Sequence[Finding] | None = None,
    certificate: str | None = None,
    folder: str | None = None,
    now: float | None = None,
) -> list[Sample]:
    """Everything there is to export.

    Args:
        bundle: The model in production.
        situation: What is known of its predictions, if they are logged.
        findings: All findings; None takes the situation's.
        certificate: A PEM file to tell the end of.
        folder: The prediction log's folder, to tell its disk of.
        now: Seconds since 1970.

    Raises:
        InputError: The certificate cannot be read.
    """
    moment = time.time() if now is None else now
    model = {"model": bundle.manifest.name}
    created = datetime.fromisoformat(bundle.manifest.created).timestamp()
    found = [Sample("roadworthy_model_age_days", model, max(0.0, moment - created) / 86400)]
    if certificate is not None:
        days = (_ends(Path(certificate)) - moment) / 86400
        found.append(Sample("roadworthy_certificate_days", model | {"file": certificate}, days))
    if folder is not None and Path(folder).is_dir():
        usage = shutil.disk_usage(folder)
        share = 1.0 - usage.free / usage.total
        found.append(Sample("roadworthy_disk_used_share", {"folder": folder}, share))
    told = findings if findings is not None else () if situation is None else situation.findings
    found += _of_findings(told, model)
    if situation is not None:
        found += _of_situation(situation, model)
    return found


def _of_findings(findings: Sequence[Finding], model: dict[str, str]) -> Iterator[Sample]:
    counts: dict[tuple[str, str, str], int] = {}
    for finding in findings:
        key = finding.kind, finding.severity, finding.subject
        counts[key] = counts.get(key, 0) + 1
    for (kind, severity, subject), count in sorted(counts.items()):
        labels = model | {"kind": kind, "severity": severity, "subject": subject}
        yield Sample("roadworthy_findings", labels, count)


def _of_situation(situation: Situation, model: dict[str, str]) -> Iterator[Sample]:
    if situation.quality is not None:
        for metric, estimate in situation.quality.metrics.items():
            for part in ("value", "low", "high"):
                value = getattr(estimate, part)
                if value is not None:
                    labels = model | {"metric": metric, "part": part}
                    yield Sample("roadworthy_quality", labels, value)
    for metric, expected in situation.expected.items():
        for part in ("value", "low", "high"):
            labels = model | {"metric": metric, "part": part}
            yield Sample("roadworthy_quality_estimated", labels, getattr(expected, part))
    yield Sample("roadworthy_labelled", model, situation.labelled)


def _ends(file: Path) -> float:
    """When the first certificate to end of a PEM file does."""
    from cryptography import x509

    try:
        chain = x509.load_pem_x509_certificates(file.read_bytes())
        return min(each.not_valid_after_utc.astimezone(UTC).timestamp() for each in chain)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it holds no certificate"
        raise InputError(f"the certificate cannot be read: {reason}", where=str(file)) from None


def to_prometheus(found: list[Sample]) -> bytes:
    """The Prometheus text format."""
    registry = CollectorRegistry()
    registry.register(_Exposition(found))
    return generate_latest(registry)


class _Exposition(Collector):
    def __init__(self, found: list[Sample]) -> None:
        self.found = found

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for name, labels, value, _ in self.found:
            keys = list(labels)
            family = families.setdefault(name, GaugeMetricFamily(name, HELP[name], labels=keys))
            family.add_metric([labels[key] for key in keys], value)
        yield from families.values()


def to_embedded(found: list[Sample], now: float | None = None) -> bytes:
    """CloudWatch's embedded metric format: a line of JSON a sample."""
    moment = int((time.time() if now is None else now) * 1000)
    lines = []
    for sample in found:
        name, labels, value, _ = sample
        about = {
            "Timestamp": moment,
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [list(keys) for keys in dimension_sets(sample)],
                    "Metrics": [{"Name": name}],
                }
            ],
        }
        line: dict[str, Any] = {"_aws": about, **labels, name: value}
        lines.append(msgspec.json.encode(line) + b"\n")
    return b"".join(lines)
