"""What a server's `/metrics` say since the last look: for clouds that add up what they are sent.

CloudWatch and Azure know no counters that grow: they take what came in a period. Where Prometheus
or OpenTelemetry collect the server's metrics, none of this is needed.
"""

from __future__ import annotations

import itertools
import urllib.error
import urllib.request
from http.client import HTTPException

from prometheus_client.parser import text_string_to_metric_families

from roadworthy.monitor.export import Sample

SECONDS = 5.0
"""A server that takes longer to answer is not there."""
_TOTALS = {
    "roadworthy_requests_total": "roadworthy_requests_total",
    "roadworthy_log_dropped_total": "roadworthy_log_dropped_total",
}
_BUCKET = "roadworthy_request_duration_seconds_bucket"
_COUNTED = (("roadworthy_requests_total", ""), ("roadworthy_errors_total", ""))
Totals = dict[tuple[str, str], float]


class ServiceMeter:
    """Looks at one server.

    Args:
        address: Of its `/metrics`.
        model: The model that is asked about.
        key: The API key, where it needs one.
    """

    def __init__(self, address: str, model: str, key: str | None = None) -> None:
        self.address, self.model, self._key = address, model, key
        self._before: Totals | None = None

    def look(self) -> list[Sample]:
        """What came since the last look; at the first one only whether it answers."""
        about = {"model": self.model}
        try:
            now = read_totals(self.address, self.model, self._key)
        except (OSError, HTTPException, ValueError):
            self._before = None
            return [Sample("roadworthy_up", about, 0.0)]
        before, self._before = self._before, now
        up = Sample("roadworthy_up", about, 1.0)
        if before is None:
            return [up]
        grown = {key: growth(value, before.get(key, 0.0)) for key, value in now.items()}
        found = [Sample(name, about, value) for (name, limit), value in grown.items() if not limit]
        limits = sorted((float(limit), value) for (_, limit), value in grown.items() if limit)
        counts = tuple(
            (min(limit, 1.0), round(value - less))
            for (limit, value), (_, less) in zip(limits, [(0.0, 0.0), *limits], strict=False)
            if value > less
        )
        if counts:
            name = _BUCKET.removesuffix("_bucket")
            times = sum(count for _, count in counts)
            mean = sum(value * count for value, count in counts) / times
            found.append(Sample(name, about, mean, counts))
        return [up, *found]


def headers(key: str | None) -> dict[str, str]:
    """What a request to a server carries, where it needs a key."""
    return {"X-API-Key": key} if key else {}


def read_totals(address: str, model: str, key: str | None = None) -> Totals:
    """A server's counters by name, and by the upper limit of a bucket of durations.

    Args:
        address: Of its `/metrics`.
        model: The model that is asked about.
        key: The API key, where it needs one.

    Raises:
        OSError: It does not answer, or with an error.
        HTTPException: It speaks no HTTP.
        ValueError: It answers something else.
    """
    request = urllib.request.Request(address, headers=headers(key))
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        text = answer.read().decode()
    found: Totals = {
        ("roadworthy_requests_total", ""): 0.0,
        ("roadworthy_errors_total", ""): 0.0,
    }
    families = text_string_to_metric_families(text)
    for sample in itertools.chain.from_iterable(family.samples for family in families):
        labels = sample.labels
        if labels.get("model", model) != model:
            continue
        if sample.name in _TOTALS:
            total = _TOTALS[sample.name], ""
            found[total] = found.get(total, 0.0) + sample.value
            if labels.get("code", "").startswith("5"):
                found["roadworthy_errors_total", ""] += sample.value
        elif sample.name == _BUCKET:
            bucket = sample.name, labels["le"].replace("+Inf", "inf")
            found[bucket] = found.get(bucket, 0.0) + sample.value
    return found


def growth(now: float, before: float) -> float:
    """What a counter grew by; one that is less than it was began anew."""
    return now - before if now >= before else now
