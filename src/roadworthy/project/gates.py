"""`[gates]` and `[behaviour]`: what a release must reach, and how a model must behave."""

from __future__ import annotations

import difflib
import re
from typing import Any, Literal, NamedTuple

import msgspec

from roadworthy.project._range import Range

Rule = str | float
"""A comparison such as `">= 0.85"`."""
Rules = dict[str, Rule]

SHARES = (
    "accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro",
    "precision_weighted", "recall_weighted", "f1_weighted", "roc_auc", "pr_auc", "brier",
    "calibration_error",
)  # fmt: skip
CLASS_METRICS = ("precision", "recall", "f1")
NUMBERS = ("mcc", "log_loss", "mae", "rmse", "r2", "mape", "median_ae")
METRICS = (*SHARES, *NUMBERS)
FAIRNESS = (
    "demographic_parity_difference", "demographic_parity_ratio", "equalized_odds_difference",
    "equal_opportunity_difference",
)  # fmt: skip
COSTS = ("latency_p50_ms", "latency_p99_ms", "microseconds_per_row", "bundle_mb", "age_days")
SLICED = (
    "accuracy", "roc_auc", "precision", "recall", "log_loss", "brier", "selection_rate",
    "calibration_gap", "mae", "rmse", "bias",
)  # fmt: skip
_LESS = {
    "brier", "calibration_error", "log_loss", "mae", "rmse", "mape", "median_ae", "drift",
    "slice_gap", "slice_drop", "generalisation_gap", *COSTS, "demographic_parity_difference",
    "equalized_odds_difference", "equal_opportunity_difference",
}  # fmt: skip
_EITHER = {"selection_rate", "calibration_gap", "bias"}
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RULE = re.compile(rf"\s*(>=|<=|>|<)\s*({_NUMBER})\s*(%?)\s*")


class Comparison(NamedTuple):
    """A gate's comparison: at least (`>=`, `>`) or at most (`<=`, `<`) a number."""

    operator: str
    limit: float

    @property
    def at_least(self) -> bool:
        """Whether the number is a lower bound."""
        return self.operator in (">=", ">")

    def holds(self, value: float) -> bool:
        """Whether a value keeps the comparison."""
        if self.operator == ">=":
            return value >= self.limit
        if self.operator == ">":
            return value > self.limit
        return value <= self.limit if self.operator == "<=" else value < self.limit


def parse_rule(rule: Any) -> Comparison | None:
    """The comparison in `">= 0.85"` or `"<= 5%"`; None when it is none."""
    found = _RULE.fullmatch(rule) if isinstance(rule, str) else None
    if found is None:
        return None
    return Comparison(found[1], float(found[2]) / (100.0 if found[3] else 1.0))


class GatesSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[gates]`: what a release must reach; every gate is off unless it is named.

    Attributes:
        precision: Class -> comparison, as `recall` and `f1`.
        slice: Column -> metric -> comparison that every level of the column must keep.
        slice_gap: Metric -> by how much it may be worse on a slice than on all other rows.
        slice_drop: Metric -> by how much a slice may be worse than with the champion.
        slices: Columns to slice by, and to cross; empty takes every column that can be cut.
        slice_rows: Rows below which a slice is not judged.
        demographic_parity_difference: Column -> comparison, as the other fairness measures.
        generalisation_gap: Metric -> by how much it may be worse on new data than it was on the
            holdout.
        no_worse_than: `champion` (named by `--champion`), a bundle's folder, or `baseline` (always
            answering the training shares or mean).
        margin: By how much the metrics of `no_worse_on` may be worse than the champion's.
        no_worse_on: Metrics to compare; empty takes the one that the search went by.
        behaviour: `all`: every behavioural test must hold.
        golden: `all`: every golden row must be answered as when the bundle was made.
        expected: A CSV file of rows with expected predictions, all of which must be met.
        expected_tolerance: How far a number may lie from an expected one.
        drift: Comparison for the largest population stability index of any column of new data.
        undecided: What not enough evidence means.
    """

    accuracy: Rule | None = None
    balanced_accuracy: Rule | None = None
    precision_macro: Rule | None = None
    recall_macro: Rule | None = None
    f1_macro: Rule | None = None
    precision_weighted: Rule | None = None
    recall_weighted: Rule | None = None
    f1_weighted: Rule | None = None
    roc_auc: Rule | None = None
    pr_auc: Rule | None = None
    mcc: Rule | None = None
    log_loss: Rule | None = None
    brier: Rule | None = None
    calibration_error: Rule | None = None
    mae: Rule | None = None
    rmse: Rule | None = None
    r2: Rule | None = None
    mape: Rule | None = None
    median_ae: Rule | None = None
    precision: Rules = {}
    recall: Rules = {}
    f1: Rules = {}
    slice: dict[str, Rules] = {}
    slice_gap: Rules = {}
    slice_drop: Rules = {}
    slices: tuple[str, ...] = ()
    slice_rows: int = 50
    demographic_parity_difference: Rules = {}
    demographic_parity_ratio: Rules = {}
    equalized_odds_difference: Rules = {}
    equal_opportunity_difference: Rules = {}
    generalisation_gap: Rules = {}
    no_worse_than: str | None = None
    margin: float = 0.0
    no_worse_on: tuple[str, ...] = ()
    behaviour: Literal["all", "off"] = "off"
    golden: Literal["all", "off"] = "all"
    expected: str | None = None
    expected_tolerance: float = 1e-6
    drift: Rule | None = None
    latency_p50_ms: Rule | None = None
    latency_p99_ms: Rule | None = None
    microseconds_per_row: Rule | None = None
    bundle_mb: Rule | None = None
    age_days: Rule | None = None
    undecided: Literal["pass", "fail"] = "fail"

    def rules(self) -> dict[str, Any]:
        """Every comparison that is set, by its dotted name in the file."""
        return dict(_walk(msgspec.structs.asdict(self)))

    @property
    def any(self) -> bool:
        """Whether a gate is set beyond the golden rows, which always are."""
        on = self.no_worse_than or self.expected or self.behaviour == "all"
        return bool(self.rules() or on)

    @property
    def champion(self) -> str | None:
        """The bundle that `no_worse_than` names; None for `champion`, who names it elsewhere."""
        return None if self.no_worse_than in ("champion", "baseline") else self.no_worse_than

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        found = [_check(name, rule) for name, rule in self.rules().items()]
        return [
            *found,
            *_check_metrics("slice_gap", self.slice_gap, SLICED),
            *_check_metrics("slice_drop", self.slice_drop, ("accuracy", "mae")),
            *_check_metrics("generalisation_gap", self.generalisation_gap, METRICS),
            *_check_metrics("no_worse_on", dict.fromkeys(self.no_worse_on), METRICS),
            *[
                check
                for column, rules in self.slice.items()
                for check in _check_metrics(f"slice.{column}", rules, SLICED)
            ],
            Range(self.slice_rows >= 10, "slice_rows", "10 or more"),
            Range(self.margin >= 0, "margin", "0 or more"),
            Range(self.expected_tolerance >= 0, "expected_tolerance", "0 or more"),
        ]


_NESTED = (*CLASS_METRICS, "slice", "slice_gap", "slice_drop", "generalisation_gap", *FAIRNESS)
_SINGLE = (*METRICS, *COSTS, "drift")


def _walk(values: dict[str, Any]) -> list[tuple[str, Any]]:
    found = [(name, values[name]) for name in _SINGLE if values[name] is not None]
    for name in _NESTED:
        for key, rule in values[name].items():
            if isinstance(rule, dict):
                found += [(f"{name}.{key}.{inner}", entry) for inner, entry in rule.items()]
            else:
                found.append((f"{name}.{key}", rule))
    return found


def _check(name: str, rule: Any) -> Range:
    """Whether a comparison can be read and makes sense of its number."""
    parsed = parse_rule(rule)
    first, last = name.split(".")[0], name.split(".")[-1]
    less = first in _LESS or (first == "slice" and last in _LESS)
    wanted = "<=" if less else ">="
    if parsed is None:
        return Range(False, name, f"a comparison such as '{wanted} 0.85', not {rule!r}")
    either = first == "slice" and last in _EITHER
    if parsed.at_least == less and not either:
        better = "less" if less else "more"
        return Range(False, name, f"written with {wanted}: {better} of it is better")
    share = last in SHARES if first == "slice" else first in (*SHARES, *CLASS_METRICS, *FAIRNESS)
    if share and not 0 <= parsed.limit <= 1:
        hint = f"; did you mean {parsed.limit / 100:g}?" if 1 < parsed.limit <= 100 else ""
        return Range(False, name, f"compared with a share between 0 and 1{hint}")
    return Range(True, name, "")


def _check_metrics(key: str, rules: dict[str, Any], known: tuple[str, ...]) -> list[Range]:
    found = []
    for metric in rules:
        near = difflib.get_close_matches(metric, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(known)}"
        found.append(Range(metric in known, f"{key}.{metric}", f"of a metric: {hint}"))
    return found


class BehaviourSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[behaviour]`: how the model must behave, beyond what the contract gives by itself.

    Attributes:
        monotone: Column -> `up` or `down`: which way more of it may move the answer.
        monotone_class: Whose probability that is; None is the positive class.
        invariant: Columns whose cells may be swapped without moving the answer.
        invariant_tolerance: How far such a swap may move a probability, or a prediction in
            standard deviations of the target.
        max_jump: How far a tiny change of the numbers may move an answer, measured likewise.
        rows: Real rows to test on.
        skip: Tests to leave out, by name.
    """

    monotone: dict[str, Literal["up", "down"]] = {}
    monotone_class: str | None = None
    invariant: tuple[str, ...] = ()
    invariant_tolerance: float = 0.01
    max_jump: float = 0.1
    rows: int = 200
    skip: tuple[str, ...] = ()

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        return [
            Range(self.invariant_tolerance >= 0, "invariant_tolerance", "0 or more"),
            Range(self.max_jump > 0, "max_jump", "above 0"),
            Range(1 <= self.rows <= 10_000, "rows", "between 1 and 10000"),
        ]
