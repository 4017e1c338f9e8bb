"""`[monitor]`: labels, quality, alarms, and what retraining may do."""

from __future__ import annotations

from typing import Literal

import msgspec

from roadworthy.project._range import Range


class CountingKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of `[monitor]` that counting and drift are told by.

    Attributes:
        counts: Folder in which served models are counted; None counts while the server runs.
        counts_seconds: How often counts are written.
        learn_days: First days of serving that are taken as the usual, where the bundle has no days.
        false_alarms: How likely a day on which nothing is wrong has a finding of drift, all columns
            together.
    """

    counts: str | None = None
    counts_seconds: float = 10.0
    learn_days: int = 28
    false_alarms: float = 0.001

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        return [
            Range(0.1 <= self.counts_seconds <= 3600, "counts_seconds", "between 0.1 and 3600"),
            Range(7 <= self.learn_days <= 365, "learn_days", "between 7 and 365"),
            Range(1e-9 <= self.false_alarms <= 0.1, "false_alarms", "between 1e-9 and 0.1"),
        ]


class QualityKeys(CountingKeys, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of `[monitor]` that labels, quality, alarms and retraining are told by.

    Attributes:
        labels: Where labels are kept: `sqlite:///FILE` or `postgresql://HOST/DATABASE`.
        label_delay_days: Age from which a prediction's label is expected to be known; None: as
            labels have come so far.
        period: What quality is told by.
        slices: Columns to tell quality by; empty takes every category of few levels.
        retrain_window_days: Labelled rows that retraining adds: those of so many last days; None
            takes all.
        retrain_test_share: Newest part of them on which challenger and champion are compared.
        retrain_promote: What becomes of a challenger that passes: only registered, its canary or
            shadow proposed, or promoted at once.
    """

    labels: str = "sqlite:///labels.db"
    label_delay_days: float | None = None
    period: Literal["day", "week", "month"] = "week"
    slices: tuple[str, ...] = ()
    retrain_window_days: float | None = None
    retrain_test_share: float = 0.3
    retrain_promote: Literal["no", "shadow", "canary", "yes"] = "canary"

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        scheme = self.labels.partition(":")[0]
        delay, window = self.label_delay_days, self.retrain_window_days
        return [
            *CountingKeys.ranges(self),
            Range(scheme in ("sqlite", "postgresql"), "labels", "sqlite:///… or postgresql://…"),
            Range(delay is None or 0 <= delay <= 3650, "label_delay_days", "between 0 and 3650"),
            Range(window is None or 0 < window <= 36500, "retrain_window_days", "above 0 days"),
            Range(
                0.05 <= self.retrain_test_share <= 0.9,
                "retrain_test_share",
                "a share between 0.05 and 0.9",
            ),
        ]


class MonitorSection(QualityKeys, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[monitor]`: see `CountingKeys` and `QualityKeys`."""
