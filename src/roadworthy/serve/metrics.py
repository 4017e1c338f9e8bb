"""Metrics in the Prometheus text format, summed over workers.

The path of a request adds to plain integers; the exposition format is prometheus-client's work
when somebody asks. With several workers each writes its integers to a file of a shared folder
once a second, and the worker that is asked adds the files up.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from roadworthy.observe.layout import LATENCY_BOUNDS
from roadworthy.prepare.rows import BLANK, RANGE, UNSEEN
from roadworthy.serve.models import Model
from roadworthy.serve.prediction_log.journal import PredictionLog
from roadworthy.serve.predictions import Predictor

SEPARATOR = "\x1f"
_PREDICTING = ("predict", "invocations", "infer", "score")
"""How the addresses end at which rows are predicted."""


class ModelTally(msgspec.Struct):
    """What one worker counted for one model.

    Attributes:
        buckets: Answered requests by duration, one more than `LATENCY_BOUNDS`.
        seconds: Their total duration.
        rows: Rows answered.
        classes: Predictions by class name.
        notes: Note and column -> cells.
    """

    buckets: list[int] = msgspec.field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS) + 1))
    seconds: float = 0.0
    rows: int = 0
    classes: dict[str, int] = {}
    notes: dict[str, int] = {}

    def add(self, other: ModelTally) -> None:
        """Add other counts to these."""
        add_counts(self.classes, other.classes)
        add_counts(self.notes, other.notes)
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]
        self.seconds += other.seconds
        self.rows += other.rows

    def take(self, predictor: Predictor) -> None:
        """Add what one version counted."""
        names, columns = predictor.target.class_names, predictor.contract.names
        counts = predictor.counts
        self.rows += counts.rows
        add_counts(self.classes, {names[code]: n for code, n in counts.classes.items()})
        found = {SEPARATOR.join((code, columns[at])): n for (code, at), n in counts.notes.items()}
        add_counts(self.notes, found)


class Tally(msgspec.Struct):
    """What one worker counted, as it lies in its file.

    Attributes:
        requests: Model, route and code -> requests.
        models: Name -> its counts.
        log_rows: Rows in the prediction log.
        log_dropped: Rows that it lost.
    """

    log_rows: int = 0
    log_dropped: int = 0
    requests: dict[str, int] = {}
    models: dict[str, ModelTally] = {}

    def add(self, other: Tally) -> None:
        """Add another worker's counts to these."""
        add_counts(self.requests, other.requests)
        self.log_rows += other.log_rows
        self.log_dropped += other.log_dropped
        for name, theirs in other.models.items():
            self.models.setdefault(name, ModelTally()).add(theirs)


def add_counts(mine: dict[str, int], theirs: dict[str, int]) -> None:
    """Add counts to counts."""
    for key, count in theirs.items():
        mine[key] = mine.get(key, 0) + count


class Drift(NamedTuple):
    """One number of how a column's cells differ from the training table's."""

    model: str
    column: str
    measure: str
    value: float


class ServerMetrics:
    """Counts of one worker.

    Args:
        models: The models that are served.
        folder: Where workers share their counts; None for a single worker.
    """

    def __init__(self, models: Sequence[Model], folder: Path | None) -> None:
        self.models = models
        self.folder = folder
        self.log: PredictionLog | None = None
        self.drift: list[Drift] = []
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._kept = {model.name: ModelTally() for model in models}

    def observe(self, model: str, seconds: float) -> None:
        """Count one answered request by its duration."""
        tally = self._kept[model]
        tally.buckets[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        tally.seconds += seconds

    def count(self, model: str, route: str, code: int) -> None:
        """Count one answer."""
        self._requests[model, route, code] += 1

    def of_model(self, model: str) -> list[int]:
        """Predictions that were refused, those that failed, and those answered by duration."""
        refused = failed = 0
        for (name, route, code), count in self._requests.items():
            if name == model and route.endswith(_PREDICTING):
                refused += count * (400 <= code < 500)
                failed += count * (code >= 500)
        return [refused, failed, *self._kept[model].buckets]

    def retire(self, model: str, predictor: Predictor) -> None:
        """Keep what a version counted that is not served any more."""
        self._kept[model].take(predictor)

    def tally(self) -> Tally:
        """This worker's counts."""
        requests = {
            SEPARATOR.join((model, route, str(code))): n
            for (model, route, code), n in self._requests.items()
        }
        total = Tally(requests=requests)
        if self.log is not None:
            total.log_rows, total.log_dropped = self.log.written, self.log.dropped
        for model in self.models:
            tally = total.models[model.name] = ModelTally()
            tally.add(self._kept[model.name])
            for predictor in model.answering():
                tally.take(predictor)
        return total

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

    def total(self) -> Tally:
        """All workers' counts together."""
        total = self.tally()
        if self.folder is not None:
            for file in sorted(self.folder.glob("*.json")):
                if file.stem != str(os.getpid()):
                    total.add(msgspec.json.decode(file.read_bytes(), type=Tally))
        return total

    def render(self) -> bytes:
        """The text of `/metrics`: all workers' counts together."""
        registry = CollectorRegistry()
        registry.register(_Exposition(self.models, self.total(), self.drift))
        return generate_latest(registry)


class _Exposition(Collector):
    def __init__(self, models: Sequence[Model], tally: Tally, drift: Sequence[Drift]) -> None:
        self.models = models
        self.tally = tally
        self.drift = drift

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield self._info()
        requests = CounterMetricFamily(
            "roadworthy_requests", "Answers by route and code.", labels=["model", "route", "code"]
        )
        for key, count in sorted(self.tally.requests.items()):
            requests.add_metric(key.split(SEPARATOR), count)
        yield requests
        yield from self._health()
        yield self._durations()
        rows = CounterMetricFamily("roadworthy_rows", "Rows predicted.", labels=["model"])
        classes = CounterMetricFamily(
            "roadworthy_predictions", "Predictions by class.", labels=["model", "class"]
        )
        for model in self.models:
            tally = self.tally.models[model.name]
            rows.add_metric([model.name], tally.rows)
            for name in dict.fromkeys((*model.current.target.class_names, *tally.classes)):
                classes.add_metric([model.name, name], tally.classes.get(name, 0))
        yield rows
        yield classes
        yield from self._notes()
        yield from self._shadows()
        drift = GaugeMetricFamily(
            "roadworthy_drift",
            "How the rows of the last 24 hours differ from the training table.",
            labels=["model", "column", "measure"],
        )
        for model_name, column, measure, value in self.drift:
            drift.add_metric([model_name, column, measure], value)
        yield drift

    def _health(self) -> Iterator[Metric]:
        """What clouds that cannot divide or look at labels ring by."""
        failed = CounterMetricFamily("roadworthy_errors", "Answers of 5xx.", labels=["model"])
        errors = {model.name: 0 for model in self.models}
        for key, count in self.tally.requests.items():
            model, _, code = key.split(SEPARATOR)
            if code.startswith("5"):
                errors[model] = errors.get(model, 0) + count
        for model, count in errors.items():
            failed.add_metric([model], count)
        yield failed
        yield GaugeMetricFamily("roadworthy_up", "1 while the server answers.", value=1)

    def _info(self) -> Metric:
        info = GaugeMetricFamily(
            "roadworthy_model_info", "The served model.", labels=["model", "version", "task"]
        )
        for model in self.models:
            for predictor in model.loaded():
                version, task = predictor.bundle.version, predictor.target.task
                info.add_metric([model.name, version, task], 1)
        return info

    def _notes(self) -> Iterator[Metric]:
        for note, help_text in (
            (BLANK, "Blank cells."),
            (UNSEEN, "Cells with a level that training never saw."),
            (RANGE, "Numbers and dates outside the range of training."),
        ):
            cells = CounterMetricFamily(f"roadworthy_{note}", help_text, labels=["model", "column"])
            for name, tally in self.tally.models.items():
                for key, count in sorted(tally.notes.items()):
                    code, _, column = key.partition(SEPARATOR)
                    if code == note:
                        cells.add_metric([name, column], count)
            yield cells

    def _shadows(self) -> Iterator[Metric]:
        rows = CounterMetricFamily(
            "roadworthy_shadow_rows", "Rows that the shadow answered too.", labels=["model"]
        )
        different = CounterMetricFamily(
            "roadworthy_shadow_different", "Rows that it answered otherwise.", labels=["model"]
        )
        for model in self.models:
            if model.shadow is not None:
                rows.add_metric([model.name], model.comparison.rows)
                different.add_metric([model.name], model.comparison.different)
        yield rows
        yield different
        yield CounterMetricFamily(
            "roadworthy_log_rows", "Rows in the prediction log.", value=self.tally.log_rows
        )
        yield CounterMetricFamily(
            "roadworthy_log_dropped", "Rows that it lost.", value=self.tally.log_dropped
        )

    def _durations(self) -> HistogramMetricFamily:
        histogram = HistogramMetricFamily(
            "roadworthy_request_duration_seconds",
            "Duration of answered predictions, from the whole request to the answer.",
            labels=["model"],
        )
        for name, tally in self.tally.models.items():
            total, buckets = 0, []
            for limit, count in zip(
                (*map(str, LATENCY_BOUNDS), "+Inf"), tally.buckets, strict=True
            ):
                total += count
                buckets.append((limit, total))
            histogram.add_metric([name], buckets, tally.seconds)
        return histogram
