"""Prometheus alerting rules, an Alertmanager configuration and a Grafana dashboard.

Rule files are YAML, of which JSON is a part: they are written as JSON, which needs no library.
"""

from __future__ import annotations

from typing import Any

from roadworthy.bundle.manifest import to_json
from roadworthy.monitor.alarms._base import KINDS, Alarm, Place
from roadworthy.monitor.alarms.grafana import dashboard


class Prometheus:
    """Rules for Prometheus 2.42 or later; check them with `promtool check rules`."""

    name = "prometheus"

    def render(self, alarms: tuple[Alarm, ...], place: Place) -> dict[str, bytes]:
        """See `AlarmTarget`."""
        rules = [_rule(alarm, place) for alarm in alarms]
        groups = {"groups": [{"name": f"roadworthy-{place.model}", "rules": rules}]}
        return {
            "roadworthy.rules.json": to_json(groups),
            "alertmanager.json": to_json(_alertmanager(place)),
            "grafana-dashboard.json": to_json(dashboard(place)),
        }


def expression(alarm: Alarm, place: Place) -> str:
    """The alarm as PromQL, which Google Cloud takes too."""
    return f"{measure(alarm, place)} {alarm.direction} {alarm.threshold:g}"


def measure(alarm: Alarm, place: Place) -> str:
    """What the alarm looks at, as PromQL."""
    model = f'model="{place.model}"'
    job = f'job="{place.service}"'
    if alarm.name in KINDS:
        kinds = "|".join(KINDS[alarm.name])
        return (
            f'max(roadworthy_findings{{{model}, kind=~"{kinds}", '
            'severity=~"warning|serious"}) by (model, kind, subject)'
        )
    return {
        "down": f"up{{{job}}}",
        "errors": (
            f'sum(rate(roadworthy_requests_total{{{model}, code=~"5.."}}[5m])) by (model) / '
            f"sum(rate(roadworthy_requests_total{{{model}}}[5m])) by (model)"
        ),
        "latency": (
            "histogram_quantile(0.99, sum(rate(roadworthy_request_duration_seconds_bucket"
            f"{{{model}}}[5m])) by (le, model))"
        ),
        "no_traffic": f"sum(increase(roadworthy_requests_total{{{model}}}[30m])) by (model)",
        "log_lost": f"sum(increase(roadworthy_log_dropped_total{{{job}}}[10m])) by (job)",
        "stale_model": f"max(roadworthy_model_age_days{{{model}}}) by (model)",
        "certificate": "min(roadworthy_certificate_days) by (file)",
        "cpu": '1 - avg(rate(node_cpu_seconds_total{mode="idle"}[5m])) by (instance)',
        "memory": "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
        "disk": (
            '1 - node_filesystem_avail_bytes{fstype!~"tmpfs|overlay|squashfs"} / '
            'node_filesystem_size_bytes{fstype!~"tmpfs|overlay|squashfs"}'
        ),
    }[alarm.name]


def _rule(alarm: Alarm, place: Place) -> dict[str, Any]:
    name = "".join(part.capitalize() for part in alarm.name.split("_"))
    return {
        "alert": f"Roadworthy{name}",
        "expr": expression(alarm, place),
        "for": f"{alarm.minutes * 60:g}s",
        "keep_firing_for": f"{alarm.quiet_minutes * 60:g}s",
        "labels": {"severity": alarm.severity, "service": place.service},
        "annotations": {
            "summary": f"{place.model}: {alarm.what}",
            "description": "{{ $labels.kind }} {{ $labels.subject }} {{ $value }}".strip()
            if alarm.name in KINDS
            else f"now {{{{ $value }}}} {alarm.unit}, threshold {alarm.threshold:g}".strip(),
            "action": alarm.action,
            "runbook_url": alarm.link,
        },
    }


def _alertmanager(place: Place) -> dict[str, Any]:
    """One notice a service and alarm, repeated daily; a service that is down says only that."""
    receiver: dict[str, Any] = {"name": "roadworthy"}
    if place.notify:
        receiver["webhook_configs"] = [{"url": place.notify, "send_resolved": True}]
    return {
        "route": {
            "receiver": "roadworthy",
            "group_by": ["service", "alertname"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "24h",
        },
        "inhibit_rules": [
            {
                "source_matchers": ['alertname="RoadworthyDown"'],
                "target_matchers": ['alertname=~"Roadworthy(NoTraffic|Errors|Latency)"'],
                "equal": ["service"],
            }
        ],
        "receivers": [receiver],
    }
