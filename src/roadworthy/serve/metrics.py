"""Metrics in the Prometheus text format, summed over workers.

The path of a request adds to plain integers; the exposition format is prometheus-client's work
when somebody asks. With several workers each writes its integers to a file of a shared folder
once a second, and the worker that is asked adds the files up.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from roadworthy.bundle import Bundle
from roadworthy.prepare.rows import BLANK, RANGE, UNSEEN
from roadworthy.serve.predictions import Counts

BUCKETS = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
)  # fmt: skip


class Tally(msgspec.Struct):
    """What one worker counted, as it lies in its file.

    Attributes:
        requests: "route code" -> requests.
        buckets: Requests to `/predict` by duration, one more than `BUCKETS`.
        seconds: Their total duration.
        rows: Rows answered.
        classes: Predictions by class position.
        notes: "code position" -> cells.
    """

    requests: dict[str, int]
    buckets: list[int]
    seconds: float
    rows: int
    classes: dict[str, int]
    notes: dict[str, int]

    def add(self, other: Tally) -> None:
        """Add another worker's counts to these."""
        for mine, theirs in (
            (self.requests, other.requests),
            (self.classes, other.classes),
            (self.notes, other.notes),
        ):
            for key, count in theirs.items():
                mine[key] = mine.get(key, 0) + count
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]
        self.seconds += other.seconds
        self.rows += other.rows


class ServerMetrics:
    """Counts of one worker.

    Args:
        bundle: The bundle that is served.
        counts: The predictor's counts.
        folder: Where workers share their counts; None for a single worker.
    """

    def __init__(self, bundle: Bundle, counts: Counts, folder: Path | None) -> None:
        self.bundle = bundle
        self.counts = counts
        self.folder = folder
        self.requests: Counter[tuple[str, int]] = Counter()
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one answered `/predict` by its duration."""
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds

    def count(self, route: str, code: int) -> None:
        """Count one answer."""
        self.requests[route, code] += 1

    def tally(self) -> Tally:
        """This worker's counts."""
        return Tally(
            requests={f"{route} {code}": n for (route, code), n in self.requests.items()},
            buckets=list(self.buckets),
            seconds=self.seconds,
            rows=self.counts.rows,
            classes={str(code): n for code, n in self.counts.classes.items()},
            notes={f"{code} {place}": n for (code, place), n in self.counts.notes.items()},
        )

    def share(self) -> None:
        """Write this worker's counts for the others."""
        if self.folder is None:
            return
        file = self.folder / f"{os.getpid()}.json"
        draft = file.with_suffix(".draft")
        try:
            draft.write_bytes(msgspec.json.encode(self.tally()))
            draft.replace(file)
        except OSError:
            return  # a full disk must not stop predictions; the next second tries again

    def render(self) -> bytes:
        """The text of `/metrics`: all workers' counts together."""
        total = self.tally()
        if self.folder is not None:
            for file in sorted(self.folder.glob("*.json")):
                if file.stem != str(os.getpid()):
                    total.add(msgspec.json.decode(file.read_bytes(), type=Tally))
        registry = CollectorRegistry()
        registry.register(_Exposition(self.bundle, total))
        return generate_latest(registry)


class _Exposition(Collector):
    def __init__(self, bundle: Bundle, tally: Tally) -> None:
        self.bundle = bundle
        self.tally = tally

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        model = self.bundle.manifest.name
        target, names = self.bundle.contract.target, self.bundle.contract.names
        info = GaugeMetricFamily(
            "roadworthy_model_info", "The served model.", labels=["model", "version", "task"]
        )
        info.add_metric([model, self.bundle.version, target.task], 1)
        yield info
        requests = CounterMetricFamily(
            "roadworthy_requests", "Answers by route and code.", labels=["model", "route", "code"]
        )
        for key, count in sorted(self.tally.requests.items()):
            requests.add_metric([model, *key.split(" ")], count)
        yield requests
        yield self._durations(model)
        rows = CounterMetricFamily("roadworthy_rows", "Rows predicted.", labels=["model"])
        rows.add_metric([model], self.tally.rows)
        yield rows
        classes = CounterMetricFamily(
            "roadworthy_predictions", "Predictions by class.", labels=["model", "class"]
        )
        for code, name in enumerate(target.class_names):
            classes.add_metric([model, name], self.tally.classes.get(str(code), 0))
        yield classes
        for note, help_text in (
            (BLANK, "Blank cells."),
            (UNSEEN, "Cells with a level that training never saw."),
            (RANGE, "Numbers and dates outside the range of training."),
        ):
            cells = CounterMetricFamily(f"roadworthy_{note}", help_text, labels=["model", "column"])
            for place, name in enumerate(names):
                if (found := self.tally.notes.get(f"{note} {place}", 0)) > 0:
                    cells.add_metric([model, name], found)
            yield cells

    def _durations(self, model: str) -> HistogramMetricFamily:
        histogram = HistogramMetricFamily(
            "roadworthy_request_duration_seconds",
            "Duration of /predict, from its body to its answer.",
            labels=["model"],
        )
        total, buckets = 0, []
        for limit, count in zip((*map(str, BUCKETS), "+Inf"), self.tally.buckets, strict=True):
            total += count
            buckets.append((limit, total))
        histogram.add_metric([model], buckets, self.tally.seconds)
        return histogram
