"""Google Cloud Monitoring alert policies, with the same PromQL that Prometheus gets.

Metrics that arrive through OTLP or Managed Prometheus are asked for in PromQL; those of the machine
come from Compute Engine and the Ops Agent.
"""

from __future__ import annotations

from typing import Any

from roadworthy.bundle.manifest import to_json
from roadworthy.monitor.alarms._base import Alarm, Place
from roadworthy.monitor.alarms.prometheus import expression

_SEVERITY = {"page": "CRITICAL", "ticket": "ERROR", "info": "WARNING"}
_MACHINE = {
    "cpu": ("compute.googleapis.com/instance/cpu/utilization", "", 1.0),
    "memory": ("agent.googleapis.com/memory/percent_used", 'metric.labels.state = "used"', 100.0),
    "disk": ("agent.googleapis.com/disk/percent_used", 'metric.labels.state = "used"', 100.0),
}


class GoogleCloud:
    """`google-policies.json`: a list of AlertPolicy, each for `projects.alertPolicies.create`."""

    name = "google"

    def render(self, alarms: tuple[Alarm, ...], place: Place) -> dict[str, bytes]:
        """See `AlarmTarget`."""
        return {"google-policies.json": to_json([_policy(alarm, place) for alarm in alarms])}


def _policy(alarm: Alarm, place: Place) -> dict[str, Any]:
    name = f"roadworthy {place.model}: {alarm.what}"
    return {
        "displayName": name,
        "documentation": {
            "content": f"{alarm.action}\n\n{alarm.link}",
            "mimeType": "text/markdown",
        },
        "userLabels": {"service": place.service.lower(), "alarm": alarm.name},
        "severity": _SEVERITY[alarm.severity],
        "combiner": "OR",
        "conditions": [{"displayName": alarm.what, **_condition(alarm, place)}],
        "notificationChannels": [place.notify] if place.notify else [],
        "alertStrategy": {"autoClose": f"{max(1800, int(alarm.quiet_minutes * 60))}s"},
    }


def _condition(alarm: Alarm, place: Place) -> dict[str, Any]:
    seconds = f"{max(60, int(alarm.minutes * 60))}s"
    if alarm.name == "down":  # a service that is gone tells nothing at all
        return {
            "conditionAbsent": {
                "filter": (
                    'metric.type = "prometheus.googleapis.com/roadworthy_requests_total/counter" '
                    'AND resource.type = "prometheus_target"'
                ),
                "aggregations": [{"alignmentPeriod": "60s", "perSeriesAligner": "ALIGN_RATE"}],
                "duration": f"{max(120, int(alarm.minutes * 60))}s",
            }
        }
    if alarm.name in _MACHINE:
        metric, label, scale = _MACHINE[alarm.name]
        parts = [f'metric.type = "{metric}"', 'resource.type = "gce_instance"']
        if label:
            parts.append(label)
        if place.resource:
            parts.append(f'resource.labels.instance_id = "{place.resource}"')
        return {
            "conditionThreshold": {
                "filter": " AND ".join(parts),
                "aggregations": [{"alignmentPeriod": "60s", "perSeriesAligner": "ALIGN_MEAN"}],
                "comparison": "COMPARISON_GT",
                "thresholdValue": alarm.threshold * scale,
                "duration": seconds,
            }
        }
    return {
        "conditionPrometheusQueryLanguage": {
            "query": expression(alarm, place),
            "duration": seconds,
            "evaluationInterval": "60s",
            "alertRule": f"Roadworthy_{alarm.name}",
            "ruleGroup": f"roadworthy_{place.service.replace('-', '_')}",
        }
    }
