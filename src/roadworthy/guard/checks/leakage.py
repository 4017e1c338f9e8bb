"""Columns that alone tell the target: known only after the event, or made from it.

A column is scored alone, cross-fitted (`codes`). A near-perfect score is a leak at once; a very
high one is a leak when all the other columns together are far from it, because honest strong
columns come in company (Kaufman et al. 2012, "Leakage in data mining", ACM TKDD 6(4)).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from roadworthy.guard.checks._base import Case, Finding, drop_line, time_line
from roadworthy.guard.codes import (
    NOTHING,
    Alone,
    Coded,
    class_scores,
    code_column,
    number_scores,
    squared_correlation_low,
    tame,
)
from roadworthy.guard.model import cross_fit
from roadworthy.table import ColumnProfile

PERFECT = 0.98
SUSPECT = 0.9
SURE = 0.8
"""What the lower end of a leak's interval reaches at least: tiny tables prove nothing."""
_COMPANY = 4.0
"""Times that the others together err more than a leak does."""
_BLANKS = 0.6
_PURE_ROWS = 30
_PURE = 0.995
_BASE = 0.9  # a class share above which a pure group of rows is no surprise
_KNOWN_ROWS = 50


class Suspect(NamedTuple):
    """A column that tells the target by itself.

    Attributes:
        profile: The column.
        alone: Its score.
        way: How it tells: by its `value`, by its `known value` where it has one, or by being
            `blank`.
    """

    profile: ColumnProfile
    alone: Alone
    way: str


class Leakage:
    """A column that alone predicts the target almost perfectly."""

    name = "leakage"

    def find(self, case: Case) -> Iterator[Finding]:
        """See `Check.find`."""
        scorer = _Scorer(case)
        suspects = [
            suspect
            for profile in case.used
            if (suspect := scorer.suspect(profile, case.codes[profile.name])) is not None
        ]
        others = _others(case, {suspect.profile.name for suspect in suspects}) if suspects else 0.0
        for suspect in suspects:
            yield self._judge(suspect, others, case)
        told = {suspect.profile.name for suspect in suspects}
        if case.table.classes:
            for profile in case.used:
                if profile.name not in told and profile.blanks:
                    yield from self._pure(profile, case)
        yield from self._unused(scorer, case)

    def _judge(self, suspect: Suspect, others: float, case: Case) -> Finding:
        profile, alone, way = suspect
        lonely = 1 - others >= _COMPANY * (1 - alone.low)
        if way == "blank":
            serious = alone.low >= _BLANKS
        else:
            serious = alone.low >= SURE and (alone.score >= PERFECT or lonely)
        date = profile.kind == "date" and case.table.times is None
        telling = {
            "value": f"column {profile.name!r} alone tells the target",
            "known value": f"where column {profile.name!r} is filled, it alone tells the target",
            "blank": f"whether column {profile.name!r} is blank tells the target",
        }[way]
        measure = "normalised Gini" if case.table.classes else "R²"
        drop = drop_line(profile.name)
        fix = f"if it is known only after the event or made from the target: {drop}"
        if date:
            fix = f"hold out the newest rows: {time_line(profile.name)}; or {drop}"
        return Finding(
            check=self.name,
            severity="serious" if serious and not date else "warning",
            columns=(profile.name,),
            what=f"{telling} ({measure} {alone.score:.3f} on rows not looked at; "
            f"all other columns together {others:.3f})",
            evidence={
                "way": way,
                "score": round(alone.score, 4),
                "low": round(alone.low, 4),
                "others": round(others, 4),
                "measure": measure,
                "scored_rows": alone.rows,
                **case.sample,
            },
            fix=fix,
        )

    def _pure(self, profile: ColumnProfile, case: Case) -> Iterator[Finding]:
        """Filled, or blank, in rows of one class only: written down because of the outcome."""
        blank = case.codes[profile.name].codes == 0
        labels = case.training.labels.astype(np.int64)
        shares = np.bincount(labels, minlength=len(case.table.classes)) / len(labels)
        for state, rows in (("filled", ~blank), ("blank", blank)):
            count = int(rows.sum())
            if count < _PURE_ROWS:
                continue
            inside = np.bincount(labels[rows], minlength=len(shares)) / count
            code = int(inside.argmax())
            if inside[code] < _PURE or shares[code] > _BASE:
                continue
            yield Finding(
                check=self.name,
                severity="warning",
                columns=(profile.name,),
                what=f"rows in which column {profile.name!r} is {state} are all but always of "
                f"class {case.table.classes[code]!r}: it may be written after the event",
                evidence={
                    "way": state,
                    "state_rows": count,
                    "class_share": round(float(inside[code]), 4),
                    "overall_share": round(float(shares[code]), 4),
                    **case.sample,
                },
                fix=f"if it is known only after the event: {drop_line(profile.name)}",
            )
            return

    def _unused(self, scorer: _Scorer, case: Case) -> Iterator[Finding]:
        """Identifiers and texts that the model does not get, and that would tell."""
        for profile in case.table.profiles:
            if profile.used or profile.kind not in ("identifier", "text"):
                continue
            if not (profile.why_not or "").startswith(profile.kind):
                continue  # left out by the user
            series = case.training.frame[profile.name]
            alone = scorer.score(code_column(series))
            if alone.score >= SUSPECT and alone.low >= SURE:
                yield Finding(
                    check=self.name,
                    severity="note",
                    columns=(profile.name,),
                    what=f"column {profile.name!r} is not used, and would alone tell the target "
                    f"(score {alone.score:.3f}): the rows may be numbered or named by the outcome",
                    evidence={"way": "unused", "score": round(alone.score, 4), **case.sample},
                    fix=f"nothing to do; {drop_line(profile.name)} says that it is known",
                )


class _Scorer:
    """Scores columns of a case's training rows against its target."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.folds = case.folded
        self.classes = len(case.table.classes)
        labels = case.training.labels
        self.labels = labels.astype(np.int64) if self.classes else np.empty(0, dtype=np.int64)
        self.values = np.empty(0) if self.classes else tame(labels)

    def score(self, coded: Coded, *, known: bool = False) -> Alone:
        """How well a column tells the target alone."""
        if self.classes:
            return class_scores(coded, self.labels, self.classes, self.folds, known=known)
        return number_scores(coded, self.values, self.folds, known=known)

    def suspect(self, profile: ColumnProfile, coded: Coded) -> Suspect | None:
        """The column, when one of the ways in which it can tell is suspicious."""
        blank = coded.codes == 0
        if blank.any():
            missing = self.score(Coded(1 + blank.astype(np.int64), 3))
            if missing.score >= _BLANKS:
                return Suspect(profile, missing, "blank")
        alone = max(self.score(coded), self._line(profile, coded), key=lambda a: a.low)
        if alone.score >= SUSPECT:
            return Suspect(profile, alone, "value")
        if blank.any() and (~blank).sum() >= _KNOWN_ROWS:
            known = max(
                self.score(coded, known=True), self._line(profile, coded), key=lambda a: a.low
            )
            if known.score >= SUSPECT:
                return Suspect(profile, known, "known value")
        return None

    def _line(self, profile: ColumnProfile, coded: Coded) -> Alone:
        """R² of a straight line through the rows that have a number: it needs no bins."""
        series = self.case.training.frame[profile.name]
        if self.classes or not series.dtype.is_numeric():
            return NOTHING
        rows = np.flatnonzero(coded.codes)
        if len(rows) < max(5, len(coded.codes) // 50):
            return NOTHING
        x, y = tame(series.fill_null(0).to_numpy()[rows].astype(np.float64)), self.values[rows]
        if not x.any() or y.std() <= 1e-9:
            return NOTHING
        score = float(np.corrcoef(x, y)[0, 1] ** 2)
        return Alone(score, squared_correlation_low(score, len(rows)), len(rows))


def _others(case: Case, suspects: Iterable[str]) -> float:
    """What all columns but the suspects reach together, in the same measure."""
    names = [name for name in case.model_names if name not in set(suspects)]
    if not names:
        return 0.0
    rows = case.model_rows(case.training_rows)
    place = np.searchsorted(case.training_rows, rows)
    folds, classes = case.folded[place], len(case.table.classes)
    matrix = case.numbers(rows, names)
    labels = case.table.labels[rows]
    if not classes:
        values = tame(labels)
        answers = cross_fit(matrix, values, 0, folds, case.seed)
        spread = float(((values - values.mean()) ** 2).sum())
        missed = float(((values - answers) ** 2).sum())
        return max(0.0, 1 - missed / spread) if spread > 0 else 0.0
    answers = cross_fit(matrix, labels, classes, folds, case.seed)
    return mean_gini(labels.astype(np.int64), answers)


def mean_gini(labels: np.ndarray, answers: np.ndarray) -> float:
    """Normalised Gini, a mean over classes by their rows.

    Args:
        labels: Class of each row `[N]`.
        answers: Probabilities `[N, classes]`.
    """
    from sklearn.metrics import roc_auc_score

    scores, weights = [], []
    for code in range(1 if answers.shape[1] == 2 else 0, answers.shape[1]):
        hits = labels == code
        if 0 < hits.sum() < len(hits):
            scores.append(2 * roc_auc_score(hits, answers[:, code]) - 1)
            weights.append(int(hits.sum()))
    return max(0.0, float(np.average(scores, weights=weights))) if scores else 0.0
