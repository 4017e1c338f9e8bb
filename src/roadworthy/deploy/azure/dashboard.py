"""A dashboard of Azure Monitor, a workbook: what alarms look at, and from where they ring.

The content of a workbook is a text in JSON, of the form that
https://github.com/microsoft/Application-Insights-Workbooks/blob/master/schema/workbook.json tells.
Azure Monitor draws no thresholds into such charts, so their titles say them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from roadworthy.deploy.azure.resource import Naming, Resource
from roadworthy.deploy.cloud.comparing import differences
from roadworthy.monitor.alarms import Alarm

DASHBOARD = "azure-dashboard"
CONTENT = "serializedData"
_KIND = "Microsoft.Insights/workbooks"
_AGGREGATIONS = {"Total": 1, "Minimum": 2, "Maximum": 3, "Average": 4}
_DIRECTIONS = {"GreaterThan": "above", "LessThan": "below"}
_DAY_MS = 86_400_000
_LINE = 2
_QUALITY = {"roadworthy_quality": "quality, by labels that have come",
            "roadworthy_quality_estimated": "quality, estimated without labels"}  # fmt: skip


def dashboard(
    naming: Naming, region: str, group: str, alarms: Sequence[tuple[Alarm, Mapping[str, Any]]],
    sources: Mapping[str, str], need: str,
) -> Resource:  # fmt: skip
    """The dashboard of a deployment.

    Args:
        naming: Names and tags.
        region: Where it is kept.
        group: The part that is the resource group.
        alarms: Each alarm that is on, and the document of Azure's alert for it.
        sources: Namespace of metrics -> path of what tells them, and whose alarms are drawn; empty
            where that comes and goes, and alarms are only named. Others are left out.
        need: The part that they are about.
    """
    shown = [
        (alarm, criterion) for alarm, document in alarms
        for criterion in document["properties"]["criteria"]["allOf"]
        if criterion["metricNamespace"] in sources
    ]  # fmt: skip
    items = [_text(naming, [alarm for alarm, _ in shown])]
    items += [
        _of_alarm(alarm, criterion, sources) for alarm, criterion in shown
        if sources[criterion["metricNamespace"]]
    ]  # fmt: skip
    if "roadworthy" in sources:
        items += [_of_quality(naming, name, title, sources) for name, title in _QUALITY.items()]
    content = {
        "version": "Notebook/1.0", "items": items,
        "fallbackResourceIds": list(dict.fromkeys(filter(None, sources.values()))),
    }  # fmt: skip
    body = {
        "location": region,
        "kind": "shared",
        "tags": naming.tags(DASHBOARD),
        "properties": {
            "displayName": naming.name,
            "version": "Notebook/1.0",
            "category": "workbook",
            "sourceId": "azure monitor",
            CONTENT: msgspec.json.encode(content).decode(),
        },
    }
    name = uuid.uuid5(uuid.NAMESPACE_URL, f"{naming.group.lower()}/dashboard")
    return Resource(
        id=DASHBOARD, what="a dashboard of what alarms look at", kind=_KIND, body=body,
        path=naming.path(_KIND, str(name)), needs=(group, need),
    )  # fmt: skip


def _text(naming: Naming, alarms: Sequence[Alarm]) -> dict[str, Any]:
    lines = [
        f"# {naming.name}", "", f"Model: {naming.model}", "",
        "| alarm | tells | what rings | what to do |", "| --- | --- | --- | --- |",
        *(f"| {each.name} | {each.severity} | {each.what} | {each.action} ({_cell(each.link)}) |"
          for each in alarms),
    ]  # fmt: skip
    return {"type": 1, "name": "alarms", "content": {"json": "\n".join(lines)}}


def _cell(text: str) -> str:
    """A text that does not end the cell of a table."""
    return text.replace("|", "\\|")


def _of_alarm(
    alarm: Alarm, criterion: Mapping[str, Any], sources: Mapping[str, str]
) -> dict[str, Any]:
    side, threshold = _DIRECTIONS[criterion["operator"]], criterion["threshold"]
    return _chart(
        alarm.name, f"{alarm.what}: rings {side} {threshold:g}", criterion["metricNamespace"],
        criterion["metricName"], criterion["timeAggregation"], criterion["dimensions"], sources,
    )  # fmt: skip


def _of_quality(
    naming: Naming, metric: str, title: str, sources: Mapping[str, str]
) -> dict[str, Any]:
    model = {"name": "model", "values": [naming.model]}
    return _chart(metric, title, "roadworthy", metric, "Average", [model], sources)


def _chart(
    name: str, title: str, space: str, metric: str, how: str,
    dimensions: Sequence[Mapping[str, Any]], sources: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    """A chart of a day, two of them side by side."""
    path = sources[space]
    asked: dict[str, Any] = {
        "namespace": space.lower(), "metric": f"{space.lower()}--{metric}",
        "aggregation": _AGGREGATIONS[how],
    }  # fmt: skip
    if dimensions:
        asked["filters"] = [
            {"key": each["name"], "operator": 0, "values": list(each["values"])}
            for each in dimensions
        ]
    content = {
        "chartId": f"roadworthy-{name}",
        "version": "MetricsItem/2.0",
        "size": 0,
        "chartType": _LINE,
        "resourceType": path.rpartition("/providers/")[2].rpartition("/")[0].lower(),
        "metricScope": 0,
        "resourceIds": [path],
        "timeContext": {"durationMs": _DAY_MS},
        "metrics": [asked],
        "title": title,
    }
    return {"type": 10, "name": name, "customWidth": "50", "content": content}


def differs(body: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What is other than wanted; of the content only that it is, for it is long.

    Args:
        body: The wanted document.
        found: What is there, with its content.
    """
    wanted = {key: each for key, each in body["properties"].items() if key != CONTENT}
    said = differences({**body, "properties": wanted}, found)
    there = (found.get("properties") or {}).get(CONTENT) or ""
    if _read(there) != _read(body["properties"][CONTENT]):
        said.append("it shows something else")
    return said


def _read(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
