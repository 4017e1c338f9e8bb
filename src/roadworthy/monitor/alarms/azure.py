"""Azure Monitor metric alerts, as one ARM template.

Azure keeps of a histogram only its sum and count, so latency is the mean there; and a static
criterion knows no ratio, so errors are counted. Custom metrics lie in the namespace `roadworthy`
of the resource that runs the service. A fleet's machines are those of scale sets, of whose metrics
each machine is told apart.

Source: https://learn.microsoft.com/azure/azure-monitor/reference/metrics-index
"""

from __future__ import annotations

from typing import Any

from roadworthy.bundle.manifest import to_json
from roadworthy.monitor.alarms._base import KINDS, Alarm, Place

_SEVERITY = {"page": 1, "ticket": 2, "info": 3}
_OPERATORS = {">": "GreaterThan", "<": "LessThan"}
_WINDOWS = {1: "PT1M", 5: "PT5M", 15: "PT15M", 30: "PT30M", 60: "PT1H", 360: "PT6H", 1440: "P1D"}
_METRICS: dict[str, tuple[str, str, str]] = {
    "down": ("roadworthy", "roadworthy_up", "Minimum"),
    "errors": ("roadworthy", "roadworthy_errors_total", "Total"),
    "latency": ("roadworthy", "roadworthy_request_duration_seconds", "Average"),
    "no_traffic": ("roadworthy", "roadworthy_requests_total", "Total"),
    "log_lost": ("roadworthy", "roadworthy_log_dropped_total", "Total"),
    "stale_model": ("roadworthy", "roadworthy_model_age_days", "Maximum"),
    "certificate": ("roadworthy", "roadworthy_certificate_days", "Minimum"),
    "cpu": ("Microsoft.Compute/virtualMachines", "Percentage CPU", "Average"),
    "memory": (
        "Microsoft.Compute/virtualMachines", "Available Memory Percentage", "Average",
    ),
    "disk": ("roadworthy", "roadworthy_disk_used_share", "Maximum"),
}  # fmt: skip
_BALANCED: dict[str, tuple[str, str, str]] = {
    "down": ("Microsoft.Network/applicationGateways", "HealthyHostCount", "Maximum"),
    "errors": ("Microsoft.Network/applicationGateways", "FailedRequests", "Total"),
    "latency": ("Microsoft.Network/applicationGateways", "ApplicationGatewayTotalTime", "Average"),
    "no_traffic": ("Microsoft.Network/applicationGateways", "TotalRequests", "Total"),
}  # fmt: skip
"""What a gateway counts by itself; its times are milliseconds."""
SETS = "Microsoft.Compute/virtualMachineScaleSets"
"""The namespace of what scale sets tell, which is their kind."""
_FLEET: dict[str, tuple[str, str, str]] = {
    "cpu": (SETS, "Percentage CPU", "Average"),
    "memory": (SETS, "Available Memory Percentage", "Average"),
}
"""What a scale set tells of its machines without an agent; of their disks it tells nothing."""
_ERRORS = 5.0
"""Failed requests in a window from which Azure rings: it cannot divide."""


class Azure:
    """`azure-alerts.json`: a template for `az deployment group create`."""

    name = "azure"

    def render(self, alarms: tuple[Alarm, ...], place: Place) -> dict[str, bytes]:
        """See `AlarmTarget`."""
        template = {
            "$schema": (
                "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
            ),
            "contentVersion": "1.0.0.0",
            "parameters": {
                "resourceId": {"type": "string", **_default(place.resource)},
                "actionGroupId": {"type": "string", **_default(place.notify)},
            },
            "resources": [_resource(alarm, place) for alarm in alarms],
        }
        return {"azure-alerts.json": to_json(template)}


def _default(value: str) -> dict[str, str]:
    return {"defaultValue": value} if value else {}


def _resource(alarm: Alarm, place: Place) -> dict[str, Any]:
    window = next((w for w in _WINDOWS if w >= alarm.minutes), 1440)
    often = min(60, max(1, next(w for w in reversed(_WINDOWS) if w <= max(1, window // 5))))
    return {
        "type": "Microsoft.Insights/metricAlerts",
        "apiVersion": "2018-03-01",
        "name": f"roadworthy-{place.model}-{alarm.name}",
        "location": "global",
        "tags": {"roadworthy": place.model},
        "properties": {
            "description": f"{alarm.what}. {alarm.action}. {alarm.link}",
            "severity": _SEVERITY[alarm.severity],
            "enabled": True,
            "autoMitigate": True,
            "scopes": ["[parameters('resourceId')]"],
            "evaluationFrequency": _WINDOWS[often],
            "windowSize": _WINDOWS[window],
            "criteria": {
                "odata.type": "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria",
                "allOf": [_criterion(alarm, place)],
            },
            "actions": [
                {
                    "actionGroupId": "[parameters('actionGroupId')]",
                    "webHookProperties": {"runbook": alarm.link, "action": alarm.action},
                }
            ],
        },
    }


def _criterion(alarm: Alarm, place: Place) -> dict[str, Any]:
    direction, threshold = alarm.direction, alarm.threshold
    dimensions = []
    if alarm.name in KINDS:
        space, metric, how = "roadworthy", "roadworthy_findings", "Maximum"
        dimensions.append(_dimension("kind", list(KINDS[alarm.name])))
    else:
        known = _METRICS | (_BALANCED if place.balancer else {}) | (_FLEET if place.fleet else {})
        space, metric, how = known[alarm.name]
    if space == SETS:  # each machine by itself, and not the mean of all
        dimensions.append(_dimension("VMName", ["*"]))
    if metric == "ApplicationGatewayTotalTime":
        threshold *= 1000
    elif alarm.name == "errors":
        threshold = _ERRORS
    elif alarm.name == "cpu":
        threshold *= 100
    elif alarm.name == "memory":  # what is told is what is left
        direction, threshold = "<", 100 - 100 * threshold
    if space == "roadworthy" and alarm.name not in ("certificate", "disk", "log_lost"):
        dimensions.append(_dimension("model", [place.model]))
    return {
        "criterionType": "StaticThresholdCriterion",
        "name": alarm.name,
        "metricNamespace": space,
        "metricName": metric,
        "dimensions": dimensions,
        "operator": _OPERATORS[direction],
        "threshold": threshold,
        "timeAggregation": how,
        "skipMetricValidation": space == "roadworthy",
    }


def _dimension(name: str, values: list[str]) -> dict[str, Any]:
    return {"name": name, "operator": "Include", "values": values}
