"""Rows that stand in the table more than once, above all on both sides of the split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from roadworthy.guard.checks._base import Case, Finding, quoted
from roadworthy.guard.repeats import Hashes, expected_twins, hash_rows, with_labels

_SHARE = 0.01
_ROWS = 5
_SURPRISE = 2.0
"""Times the share that chance explains from which duplicates are a finding."""
_EXAMPLES = 5


class Duplicates:
    """Exact copies of rows, features and target."""

    name = "duplicates"

    def find(self, case: Case) -> Iterator[Finding]:
        """See `Check.find`."""
        table = case.table
        rows = with_labels(hash_rows(table.frame, case.names), table.labels)
        train = rows if table.split is None else rows[table.split.train]
        expected = expected_twins(list(case.codes.values()), len(train))
        if table.split is not None:
            yield from self._across(case, rows[table.split.holdout], train, expected)
        yield from self._within(train, expected)

    def _across(
        self, case: Case, holdout: Hashes, train: Hashes, expected: float
    ) -> Iterator[Finding]:
        twins = np.flatnonzero(np.isin(holdout, train))
        share = len(twins) / max(1, len(holdout))
        if not _surprising(share, len(twins), expected):
            return
        group = _binding_column(case)
        named = quoted(group or "COLUMN")
        assert case.table.split is not None
        yield Finding(
            check=self.name,
            severity="warning",
            what=f"{share:.1%} of the held-out rows stand in the training rows as well, target "
            "included: the score on them is memory",
            evidence={
                "holdout_rows": len(holdout),
                "twins": len(twins),
                "share": round(share, 4),
                "share_by_chance": round(expected, 4),
                "examples": case.table.split.holdout[twins[:_EXAMPLES]].tolist(),
            },
            fix="remove the copies from the table, or keep rows that belong together on one side: "
            f"[data] group = {named}",
        )

    def _within(self, train: Hashes, expected: float) -> Iterator[Finding]:
        distinct = len(np.unique(train))
        copies = len(train) - distinct
        share = copies / max(1, len(train))
        if _surprising(share, copies, expected):
            yield Finding(
                check=self.name,
                severity="note",
                what=f"{copies:,} training rows ({share:.1%}) are copies of others: they count "
                "more than once",
                evidence={
                    "training_rows": len(train),
                    "distinct_rows": distinct,
                    "share": round(share, 4),
                    "share_by_chance": round(expected, 4),
                },
                fix="remove the copies from the table unless each is an observation of its own",
            )


def _surprising(share: float, count: int, expected: float) -> bool:
    return count >= _ROWS and share >= _SHARE and share >= _SURPRISE * expected


def _binding_column(case: Case) -> str | None:
    """An unused column of names in which copies agree: it may say which rows belong together."""
    frame = case.training.frame
    rows = hash_rows(frame, case.names)
    for profile in case.table.profiles:
        if profile.used or profile.kind not in ("identifier", "text"):
            continue
        pairs = pl.DataFrame({"row": rows, "name": frame[profile.name]})
        repeated = pairs.filter(pl.col("row").is_duplicated())
        groups = repeated.group_by("row").agg(pl.col("name").n_unique())
        if groups.height and bool((groups["name"] == 1).mean() > 0.9):  # type: ignore[operator]
            return profile.name
    return None
