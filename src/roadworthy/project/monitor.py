"""`[monitor]`: labels, quality, alarms, and what retraining may do."""

from __future__ import annotations

import datetime
from typing import Literal

import msgspec

from roadworthy.project._range import Range

AlarmName = Literal[
    "down", "errors", "latency", "no_traffic", "log_lost", "data", "drift", "quality",
    "stale_model", "certificate", "cpu", "memory", "disk",
]  # fmt: skip
PushName = Literal["cloudwatch", "azure", "google", "otlp"]
AlarmSeverity = Literal["page", "ticket", "info"]


class AlarmOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[monitor.alarms.NAME]`: what is said of one alarm; None leaves it as it is.

    Attributes:
        on: Whether there is this alarm.
        threshold: From where it rings.
        minutes: For how long it must be so.
        severity: `page` wakes somebody, `ticket` waits for the morning, `info` is for reading.
    """

    on: bool = True
    threshold: float | None = None
    minutes: float | None = None
    severity: AlarmSeverity | None = None


class CountingKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of `[monitor]` that counting and drift are told by.

    Attributes:
        counts: Folder in which served models are counted; None counts while the server runs.
        counts_seconds: How often counts are written.
        learn_days: First days of serving that are taken as the usual, where the bundle has no days.
        false_alarms: How likely a day on which nothing is wrong has a finding of drift, all columns
            together.
        against: What days are compared with: `training`, `last-week`, `weekday`, or
            `DATE..DATE` of serving.
        hours_days: Days for which counts are kept by the hour; older ones are kept by the day.
    """

    counts: str | None = None
    counts_seconds: float = 10.0
    learn_days: int = 28
    false_alarms: float = 0.001
    against: str = "training"
    hours_days: int = 35

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        return [
            Range(0.1 <= self.counts_seconds <= 3600, "counts_seconds", "between 0.1 and 3600"),
            Range(7 <= self.learn_days <= 365, "learn_days", "between 7 and 365"),
            Range(1e-9 <= self.false_alarms <= 0.1, "false_alarms", "between 1e-9 and 0.1"),
            Range(_is_against(self.against), "against", AGAINST),
            Range(2 <= self.hours_days <= 3650, "hours_days", "between 2 and 3650"),
        ]


AGAINST = "training, last-week, weekday or DATE..DATE, like 2026-01-01..2026-01-31"


def read_dates(text: str) -> tuple[datetime.date, datetime.date]:
    """Both ends of `DATE..DATE`; ValueError when it is none."""
    first, _, last = text.partition("..")
    both = datetime.date.fromisoformat(first), datetime.date.fromisoformat(last)
    if both[0] > both[1]:
        raise ValueError("the first date comes after the last one")
    return both


def _is_against(text: str) -> bool:
    if text in ("training", "last-week", "weekday"):
        return True
    try:
        read_dates(text)
    except ValueError:
        return False
    return True


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
        alarms: Alarm -> what is said of it; all others are on as they are.
        runbook: Address of the page that says what to do about each alarm.
        webhook: Where notices are posted: an address, or `env:NAME` of a variable that holds it.
        smtp: `HOST:PORT` of a mail server that notices go through; the password, where
            `smtp_user` needs one, comes from `ROADWORTHY_SMTP_PASSWORD`.
        smtp_security: How it is spoken to.
        smtp_user: Who signs in.
        smtp_from: Sender.
        smtp_to: Receivers.
        alarm_state: File that remembers what is open, so that nothing is told twice.
        repeat_hours: After which an open alarm is told again.
        push: Clouds or collectors that `monitor watch` sends metrics to after each look.
        push_resource: Azure's id of the resource that they are about, or Google's project.
        push_endpoint: Address of a collector, or of Azure in its region; else the cloud's own.
        scrape: The server's `/metrics`, whose counts are sent along to CloudWatch and Azure, and
            which our own notices look at; a key that it needs comes from `ROADWORTHY_API_KEY`.
    """

    labels: str = "sqlite:///labels.db"
    label_delay_days: float | None = None
    period: Literal["day", "week", "month"] = "week"
    slices: tuple[str, ...] = ()
    retrain_window_days: float | None = None
    retrain_test_share: float = 0.3
    retrain_promote: Literal["no", "shadow", "canary", "yes"] = "canary"
    alarms: dict[AlarmName, AlarmOptions] = {}
    runbook: str = "docs/monitoring.md"
    webhook: str | None = None
    smtp: str | None = None
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_user: str | None = None
    smtp_from: str = "roadworthy@localhost"
    smtp_to: tuple[str, ...] = ()
    alarm_state: str = "alarms.json"
    repeat_hours: float = 24.0
    push: tuple[PushName, ...] = ()
    push_resource: str | None = None
    push_endpoint: str | None = None
    scrape: str | None = None

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
            *(
                Range(
                    (each.minutes is None or 0 <= each.minutes <= 10_080)
                    and (each.threshold is None or each.threshold >= 0),
                    f"alarms.{name}",
                    "a threshold of 0 or more, minutes between 0 and 10080 (a week)",
                )
                for name, each in self.alarms.items()
            ),
            Range(
                self.webhook is None or self.webhook.startswith(("http://", "https://", "env:")),
                "webhook",
                "https://… or env:NAME",
            ),
            Range(self.smtp is None or self.smtp.rpartition(":")[2].isdigit(), "smtp", "HOST:PORT"),
            Range(self.smtp is None or bool(self.smtp_to), "smtp_to", "given together with smtp"),
            Range(0 < self.repeat_hours <= 8760, "repeat_hours", "above 0 and at most 8760"),
            Range(_is_address(self.push_endpoint), "push_endpoint", "http://… or https://…"),
            Range(_is_address(self.scrape), "scrape", "http://… or https://…"),
        ]


def _is_address(text: str | None) -> bool:
    return text is None or text.startswith(("http://", "https://"))


class MonitorSection(QualityKeys, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[monitor]`: see `CountingKeys` and `QualityKeys`."""
