"""What a release costs to run: latency, size, age."""

from __future__ import annotations

import datetime

import numpy as np

from roadworthy.acceptance.subject import InProcess, Subject
from roadworthy.bundle import Bundle
from roadworthy.bundle.manifest import to_json
from roadworthy.evaluate.gates import Check, threshold
from roadworthy.evaluate.metrics import Estimate
from roadworthy.project import GatesSection
from roadworthy.project.gates import COSTS, parse_rule

_REQUESTS = {True: 1000, False: 400}
"""Rows that are timed, in process and over HTTP."""


def measure_costs(subject: Subject, bundle: Bundle) -> dict[str, Estimate]:
    """Each of the costs that a gate can bound, with an interval where it varies.

    The interval of a quantile is that of its order statistics, which asks nothing of the
    distribution (David and Nagaraja 2003, ch. 7.1).
    """
    inside = isinstance(subject, InProcess)
    rows = [entry.row for entry in bundle.golden]
    found: dict[str, Estimate] = {}
    if rows:
        count = _REQUESTS[inside]
        taken = np.sort(subject.milliseconds([rows[k % len(rows)] for k in range(count)]))
        found["latency_p50_ms"] = quantile_estimate(taken, 0.5)
        found["latency_p99_ms"] = quantile_estimate(taken, 0.99)
        alone = taken if inside else np.sort(InProcess(bundle).milliseconds(rows * 10))
        found["microseconds_per_row"] = quantile_estimate(alone * 1e3, 0.5)
    size = sum(entry.size for entry in bundle.manifest.files.values())
    size += len(to_json(bundle.manifest))  # a packed bundle has no file of it beside
    found["bundle_mb"] = Estimate(size / 1e6)
    found["age_days"] = Estimate(age_days(bundle.manifest.created))
    return found


def quantile_estimate(ascending: np.ndarray, share: float) -> Estimate:
    """A quantile of sorted values with the 95 % interval of its order statistics."""
    from scipy.stats import binom

    count = len(ascending)
    low, high = binom.ppf([0.025, 0.975], count, share).astype(int)
    places = np.clip([low - 1, high], 0, count - 1)
    return Estimate(
        float(np.quantile(ascending, share)),
        float(ascending[places[0]]),
        float(ascending[places[1]]),
    )


def age_days(created: str, now: datetime.datetime | None = None) -> float:
    """Days since a bundle was made; 0 when its clock was ahead."""
    moment = datetime.datetime.fromisoformat(created)
    passed = (now or datetime.datetime.now(datetime.UTC)) - moment
    return max(0.0, passed.total_seconds() / 86400)


def cost_checks(gates: GatesSection, costs: dict[str, Estimate]) -> list[Check]:
    """Decide the gates on costs."""
    checks = []
    for name, rule in gates.rules().items():
        asked = parse_rule(rule)
        if name in COSTS and asked is not None:
            checks.append(threshold(name, str(rule).strip(), asked, costs.get(name)))
    return checks
