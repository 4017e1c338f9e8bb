"""Rare classes: what they do to scores, and classes too small to be validated."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from roadworthy.guard.checks._base import Case, Finding

_RARE = 0.05
_EVEN = 0.2
"""In a multiclass target: share of an even class's rows below which a class is rare."""
_SHOWN = 10


class Imbalance:
    """Classes with few rows."""

    name = "imbalance"

    def find(self, case: Case) -> Iterator[Finding]:
        """See `Check.find`."""
        classes = case.table.classes
        if not classes:
            return
        counts = np.bincount(case.table.training.labels.astype(np.int64), minlength=len(classes))
        held = np.bincount(case.table.holdout.labels.astype(np.int64), minlength=len(classes))
        rarest = int(counts.argmin())
        share = counts[rarest] / counts.sum()
        if share < min(_RARE, _EVEN / len(classes)) or (len(classes) == 2 and share < _RARE):
            binary = len(classes) == 2
            metric = '[train] metric = "pr_auc"' if binary else '[train] metric = "f1"'
            threshold = (
                ', or let the threshold be chosen: [train.decision] maximise = "f1"'
                if binary
                else ""
            )
            yield Finding(
                check=self.name,
                severity="warning" if share < _RARE / 5 or binary else "note",
                what=f"class {classes[rarest]!r} is {share:.2%} of the training rows "
                f"({counts[rarest]:,}): accuracy says little about it",
                evidence={
                    "class": str(classes[rarest]),
                    "rows": int(counts[rarest]),
                    "share": round(float(share), 6),
                    "training_rows": int(counts.sum()),
                },
                fix=f'{metric}, weigh rows: [train] class_weight = "balanced"{threshold}',
            )
        yield from self._tiny(case, counts, held)

    def _tiny(self, case: Case, counts: np.ndarray, held: np.ndarray) -> Iterator[Finding]:
        names = case.table.classes
        tiny = [code for code in np.argsort(counts, kind="stable") if counts[code] < case.folds]
        if tiny:
            listed = ", ".join(f"{names[code]!r} ({counts[code]})" for code in tiny[:_SHOWN])
            yield Finding(
                check=self.name,
                severity="warning",
                what=f"{len(tiny)} class{'es have' if len(tiny) > 1 else ' has'} fewer training "
                f"rows than the {case.folds} folds, so not every fold can judge: {listed}",
                evidence={
                    "classes": [str(names[code]) for code in tiny],
                    "rows": [int(counts[code]) for code in tiny],
                    "folds": case.folds,
                },
                fix="merge or drop these classes or add rows; "
                f"[train] folds = {max(2, int(counts.min()))} cuts fewer folds",
            )
        absent = np.flatnonzero(held == 0)
        if len(absent) and case.table.split is not None:
            listed = ", ".join(repr(names[code]) for code in absent[:_SHOWN])
            yield Finding(
                check=self.name,
                severity="warning",
                what=f"the holdout has no row of class {listed}: the report says nothing of it",
                evidence={
                    "classes": [str(names[code]) for code in absent],
                    "holdout_rows": int(held.sum()),
                },
                fix="add rows or hold out more: [data] holdout = 0.3",
            )
