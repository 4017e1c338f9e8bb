"""Hints of wrong labels: alike rows that disagree, and rows that a model contradicts.

The second is the idea of confident learning (Northcutt, Jiang, Chuang 2021, JAIR 70): the rows
whose own class an out-of-fold model all but excludes, where the classes are told apart well enough
that such a row stands out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from roadworthy.guard.checks._base import Case, Finding
from roadworthy.guard.codes import tame
from roadworthy.guard.model import cross_fit
from roadworthy.guard.repeats import hash_rows

_MIN_ROWS = 100
_OTHER = 0.9
_SURER = 5.0
_SURE = 0.75
"""Share of rows that the model is sure of from which a contradicted one stands out."""
_SHARE = 0.01
_ROWS = 10
_STRETCHES = 10
_FAR = 12.0  # median absolute errors: beyond 8 standard deviations of normal noise
_EXAMPLES = 10
_CONFLICTS = 0.01


class LabelNoise:
    """Labels that other rows contradict; never more than a note."""

    name = "label_noise"

    def find(self, case: Case) -> Iterator[Finding]:
        """See `Check.find`."""
        if case.table.classes:
            yield from self._conflicts(case)
        if len(case.training_rows) < _MIN_ROWS:
            return
        rows = case.model_rows(case.training_rows)
        place = np.searchsorted(case.training_rows, rows)
        matrix = case.numbers(rows, case.model_names)
        folds, count = case.folded[place], len(case.table.classes)
        labels = case.table.labels[rows]
        if count:
            answers = cross_fit(matrix, labels, count, folds, case.seed)
            yield from self._classes(case, rows, labels.astype(np.int64), answers)
        else:
            values = tame(labels)
            answers = cross_fit(matrix, values, 0, folds, case.seed)
            yield from self._numbers(case, rows, relative_errors(values, answers))

    def _conflicts(self, case: Case) -> Iterator[Finding]:
        training = case.table.training
        hashes = hash_rows(training.frame, case.names)
        groups, member = np.unique(hashes, return_inverse=True)
        codes = training.labels.astype(np.int64)
        count = len(case.table.classes)
        pairs, sizes = np.unique(member * count + codes, return_counts=True)
        most = np.zeros(len(groups), dtype=np.int64)
        np.maximum.at(most, pairs // count, sizes)
        total = np.bincount(member, minlength=len(groups))
        minority = int((total - most).sum())
        share = minority / len(codes)
        if minority < _ROWS or share < _CONFLICTS:
            return
        torn = np.flatnonzero((total > most)[member])
        origin = np.arange(len(codes)) if case.table.split is None else case.table.split.train
        yield Finding(
            check=self.name,
            severity="note",
            columns=(case.table.target,),
            what=f"{share:.1%} of the training rows have the same features as rows of another "
            "class: no model can tell these apart",
            evidence={
                "rows": minority,
                "share": round(share, 4),
                "rows_in_conflict": len(torn),
                "training_rows": len(codes),
                "examples": origin[torn[:_EXAMPLES]].tolist(),
            },
            fix="look at the example rows: correct labels that are wrong, or add columns that tell "
            "these rows apart",
        )

    def _classes(
        self,
        case: Case,
        rows: NDArray[np.int64],
        labels: NDArray[np.int64],
        answers: NDArray[np.float64],
    ) -> Iterator[Finding]:
        own = answers[np.arange(len(labels)), labels]
        top = answers.max(axis=1)
        shares = np.bincount(labels, minlength=answers.shape[1]) / len(labels)
        # In a class that nearly every row has, being sure takes more.
        bar = np.maximum(_OTHER, 1 - (1 - shares[answers.argmax(axis=1)]) / _SURER)
        sure = top > bar
        contradicted = np.flatnonzero(sure & (own < 1 - bar))
        share = len(contradicted) / len(labels)
        if sure.mean() < _SURE or len(contradicted) < _ROWS or share < _SHARE:
            return
        worst = contradicted[np.argsort(own[contradicted], kind="stable")][:_EXAMPLES]
        yield self._finding(
            case,
            rows[worst].tolist(),
            f"a model that has not seen them all but excludes the class of {share:.1%} of the rows "
            "looked at",
            {
                "contradicted": len(contradicted),
                "sure_share": round(float(sure.mean()), 4),
                "share": round(share, 4),
                "model_rows": len(labels),
                "model_columns": len(case.model_names),
            },
        )

    def _numbers(
        self, case: Case, rows: NDArray[np.int64], errors: NDArray[np.float64]
    ) -> Iterator[Finding]:
        far = np.flatnonzero(errors > _FAR)
        share = len(far) / len(errors)
        if len(far) < _ROWS or share < _SHARE:
            return
        worst = far[np.argsort(-errors[far], kind="stable")][:_EXAMPLES]
        yield self._finding(
            case,
            rows[worst].tolist(),
            f"the target of {share:.1%} of the rows looked at is more than {_FAR:.0f} times as far "
            "from what a model that has not seen them expects as usual",
            {"far": len(far), "share": round(share, 4), "model_rows": len(errors)},
        )

    def _finding(
        self, case: Case, examples: list[int], what: str, evidence: dict[str, object]
    ) -> Finding:
        return Finding(
            check=self.name,
            severity="note",
            columns=(case.table.target,),
            what=what,
            evidence={**evidence, "examples": examples},
            fix="look at the example rows (counted from 0): correct labels that are wrong, leave "
            "those that are only unusual",
        )


def relative_errors(
    values: NDArray[np.float64], answers: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Absolute errors over the median error of rows with like answers: large targets err more.

    Args:
        values: The target `[N]`.
        answers: What was answered `[N]`.
    """
    errors = np.abs(values - answers)
    place = np.argsort(np.argsort(answers, kind="stable")) * _STRETCHES // len(answers)
    usual = np.array([np.median(errors[place == stretch]) for stretch in range(_STRETCHES)])
    least = float(np.median(errors)) / 2 or np.inf  # most rows hit exactly: nothing is far
    relative: NDArray[np.float64] = errors / np.maximum(usual, least)[place]
    return relative
