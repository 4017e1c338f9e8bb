"""Google Cloud Monitoring alert policies, with the same PromQL that Prometheus gets.

Metrics that arrive through OTLP or Managed Prometheus are asked for in PromQL; those of the machine
come from Compute Engine and the Ops Agent; those of a fleet, which has no agent, from the former,
each machine by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roadworthy.bundle.manifest import to_json
from roadworthy.monitor.alarms._base import Alarm, Place
from roadworthy.monitor.alarms.prometheus import expression, measure

_SEVERITY = {"page": "CRITICAL", "ticket": "ERROR", "info": "WARNING"}
_MACHINE = {
    "cpu": ("compute.googleapis.com/instance/cpu/utilization", "", 1.0),
    "memory": ("agent.googleapis.com/memory/percent_used", 'metric.labels.state = "used"', 100.0),
    "disk": ("agent.googleapis.com/disk/percent_used", 'metric.labels.state = "used"', 100.0),
}

FLEET = "roadworthy-fleet"
"""The label of a fleet's machines, whose value is the deployment."""
BALANCED = ("down", "errors", "latency", "no_traffic")
"""Alarms that a load balancer's own metrics can ring."""


class GoogleCloud:
    """`google-policies.json`: a list of AlertPolicy, each for `projects.alertPolicies.create`.

    `google-dashboard.json`: one Dashboard, for `projects.dashboards.create`.
    """

    name = "google"

    def render(self, alarms: tuple[Alarm, ...], place: Place) -> dict[str, bytes]:
        """See `AlarmTarget`."""
        return {
            "google-policies.json": to_json([_policy(alarm, place) for alarm in alarms]),
            "google-dashboard.json": to_json(dashboard(alarms, place)),
        }


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
    if place.balancer and alarm.name in BALANCED:
        return {"conditionThreshold": _balanced(alarm, place, seconds)}
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
    if place.fleet and alarm.name == "memory":
        return {"conditionThreshold": _memory(alarm, place, seconds)}
    if alarm.name in _MACHINE:
        metric, label, scale = _MACHINE[alarm.name]
        parts = [f'metric.type = "{metric}"', 'resource.type = "gce_instance"']
        if label:
            parts.append(label)
        if place.resource:
            parts.append(f'resource.labels.instance_id = "{place.resource}"')
        if place.fleet:
            parts.append(f'metadata.user_labels."{FLEET}" = "{place.fleet}"')
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


def _memory(alarm: Alarm, place: Place, seconds: str) -> dict[str, Any]:
    """What machines of the series E2 tell of their memory without an agent, as a share.

    Source: https://cloud.google.com/monitoring/api/metrics_gcp_c (`instance/memory/balloon`)
    """
    told = {
        key: f'metric.type = "compute.googleapis.com/instance/memory/balloon/{key}" AND '
        'resource.type = "gce_instance" AND '
        f'metadata.user_labels."{FLEET}" = "{place.fleet}"'
        for key in ("ram_used", "ram_size")
    }
    # both sides of a share must have the same labels
    each = _together("ALIGN_MEAN", "60s") | {"groupByFields": ["resource.labels.instance_id"]}
    return {
        "filter": told["ram_used"], "aggregations": [each],
        "denominatorFilter": told["ram_size"], "denominatorAggregations": [each],
        "comparison": "COMPARISON_GT", "thresholdValue": alarm.threshold, "duration": seconds,
    }  # fmt: skip


def _balanced(alarm: Alarm, place: Place, seconds: str) -> dict[str, Any]:
    """What an application load balancer tells of itself, without an agent on the machines."""
    requests = _counted(place, "request_count")
    found: dict[str, Any] = {"filter": requests, "comparison": "COMPARISON_GT", "duration": seconds}
    if alarm.name == "errors":
        failed = f"{requests} AND metric.labels.response_code_class = 500"
        shares = [_together("ALIGN_RATE", "60s")]
        return found | {
            "filter": failed, "denominatorFilter": requests, "aggregations": shares,
            "denominatorAggregations": shares, "thresholdValue": alarm.threshold,
        }  # fmt: skip
    if alarm.name == "latency":
        slowest = _together("ALIGN_PERCENTILE_99", "60s", "REDUCE_MAX")
        return found | {
            "filter": _counted(place, "total_latencies"), "aggregations": [slowest],
            "thresholdValue": alarm.threshold * 1000,
        }  # fmt: skip
    if alarm.name == "down":  # what the balancer could hand on to nobody
        return found | {
            "filter": f"{requests} AND metric.labels.response_code = 503",
            "aggregations": [_together("ALIGN_DELTA", "60s")], "thresholdValue": 0,
        }  # fmt: skip
    return found | {
        "comparison": "COMPARISON_LT", "thresholdValue": alarm.threshold, "duration": "60s",
        "aggregations": [_together("ALIGN_DELTA", seconds)],
        "evaluationMissingData": "EVALUATION_MISSING_DATA_ACTIVE",
    }  # fmt: skip


def _counted(place: Place, metric: str) -> str:
    return (
        f'metric.type = "loadbalancing.googleapis.com/https/{metric}" AND '
        f'resource.type = "https_lb_rule" AND resource.labels.url_map_name = "{place.balancer}"'
    )


def _together(aligner: str, period: str, reducer: str = "REDUCE_SUM") -> dict[str, Any]:
    return {"alignmentPeriod": period, "perSeriesAligner": aligner, "crossSeriesReducer": reducer}


def dashboard(alarms: Sequence[Alarm], place: Place) -> dict[str, Any]:
    """A Dashboard for `projects.dashboards.create`: what each alarm looks at.

    Args:
        alarms: The alarms.
        place: What they are about.
    """
    tiles = []
    for number, alarm in enumerate(alarms):
        tile: dict[str, Any] = {"width": 6, "height": 4, "widget": _chart(alarm, place)}
        # Google gives back no nought
        where = {"xPos": 6 * (number % 2), "yPos": 4 * (number // 2)}
        tiles.append({key: each for key, each in where.items() if each} | tile)
    name = f"roadworthy {place.model}"
    return {"displayName": name, "mosaicLayout": {"columns": 12, "tiles": tiles}}


def _chart(alarm: Alarm, place: Place) -> dict[str, Any]:
    (told,) = _condition(alarm, place).values()
    threshold = told.get("thresholdValue", alarm.threshold)
    query: dict[str, Any] = {}
    if "denominatorFilter" in told:
        query["timeSeriesFilterRatio"] = {
            "numerator": {"filter": told["filter"], "aggregation": told["aggregations"][0]},
            "denominator": {
                "filter": told["denominatorFilter"],
                "aggregation": told["denominatorAggregations"][0],
            },
        }
    elif "filter" in told:
        query["timeSeriesFilter"] = {
            "filter": told["filter"], "aggregation": told["aggregations"][0],
        }  # fmt: skip
    else:
        query["prometheusQuery"] = measure(alarm, place)
    chart: dict[str, Any] = {"dataSets": [{"plotType": "LINE", "timeSeriesQuery": query}]}
    if threshold and alarm.name != "down":
        chart["thresholds"] = [{"value": threshold}]
    return {"title": alarm.what, "xyChart": chart}
