"""A worker's counts as OpenTelemetry's data: cumulative, by the names that Prometheus gets."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)

from roadworthy.observe.layout import LATENCY_BOUNDS
from roadworthy.serve.metrics import SEPARATOR, Tally

_CUMULATIVE = AggregationTemporality.CUMULATIVE


def metrics_of(tally: Tally, began: int, now: int) -> list[Metric]:
    """The metrics of a worker.

    Args:
        tally: What it counted.
        began: When it began, nanoseconds since 1970.
        now: The same, now.
    """

    def counter(
        name: str, about: str, unit: str, counts: list[tuple[dict[str, Any], int]]
    ) -> Metric:
        points = [NumberDataPoint(labels, began, now, count) for labels, count in counts]
        return Metric(name, about, unit, Sum(points, _CUMULATIVE, is_monotonic=True))

    requests = []
    for key, count in tally.requests.items():
        model, route, code = key.split(SEPARATOR)
        requests.append(({"model": model, "route": route, "code": int(code)}, count))
    rows, classes, notes, durations = [], [], [], []
    for name, one in tally.models.items():
        rows.append(({"model": name}, one.rows))
        classes += [({"model": name, "class": label}, n) for label, n in one.classes.items()]
        for key, count in one.notes.items():
            note, _, column = key.partition(SEPARATOR)
            notes.append(({"model": name, "note": note, "column": column}, count))
        extremes: Any = (None, None)  # they are not kept
        durations.append(
            HistogramDataPoint(
                {"model": name}, began, now, sum(one.buckets), one.seconds, one.buckets,
                LATENCY_BOUNDS, *extremes,
            )
        )  # fmt: skip
    about = "Duration of answered predictions, from the whole request to the answer."
    return [
        counter("roadworthy.requests", "Answers by route and code.", "{request}", requests),
        counter("roadworthy.rows", "Rows predicted.", "{row}", rows),
        counter("roadworthy.predictions", "Predictions by class.", "{prediction}", classes),
        counter("roadworthy.notes", "Cells noticed, by kind and column.", "{cell}", notes),
        Metric("roadworthy.request.duration", about, "s", Histogram(durations, _CUMULATIVE)),
    ]
