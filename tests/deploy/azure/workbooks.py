"""Workbooks of the strict server.

Their content is a text; what it must be is told by
https://github.com/microsoft/Application-Insights-Workbooks/blob/master/schema/workbook.json, of
which the names and types of texts and of charts of metrics are here. What is not told is refused.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

KIND = "microsoft.insights/workbooks"
_TOP = {"version": str, "items": list, "fallbackResourceIds": list}
_ITEM = {"type": int, "content": dict, "name": str, "customWidth": str}
_METRICS = {
    "chartId": str, "version": str, "size": int, "chartType": int, "resourceType": str,
    "metricScope": int, "resourceIds": list, "timeContext": dict, "metrics": list, "title": str,
}  # fmt: skip
_METRIC = {"namespace": str, "metric": str, "aggregation": int, "filters": list}
_FILTER = {"key": str, "operator": int, "values": list}
_CONTENTS: dict[int, dict[str, type]] = {1: {"json": str}, 10: _METRICS}


def wrong(things: dict[str, Any], path: str, kind: str, body: Any) -> tuple[int, str, str] | None:
    """What is wrong with a workbook; None: nothing."""
    if kind.lower() != KIND:
        return None
    told = body["properties"]
    try:
        uuid.UUID(path.rpartition("/")[2])
        content = json.loads(told["serializedData"])
    except (ValueError, KeyError) as error:
        return 400, "BadRequest", f"a workbook has a GUID for a name, and a content: {error}"
    lacking = [each for each in ("displayName", "category") if not told.get(each)]
    if lacking or body.get("kind") != "shared":
        return 400, "BadRequest", f"{lacking}, kind: {body.get('kind')}"
    found = _faults(content)
    known = [each.lower() for each in _named(content)]
    found += [f"{each} was not found" for each in known if each not in things]
    return (400, "BadRequest", "; ".join(found)) if found else None


def _faults(content: Any) -> list[str]:
    found = _object(content, _TOP, {"version", "items"}, "$")
    for number, item in enumerate(content["items"]):
        at = f"$.items[{number}]"
        found += _object(item, _ITEM, {"type", "content"}, at)
        rule = _CONTENTS[item["type"]]
        found += _object(item["content"], rule, set(rule), at)
        for metric in item["content"].get("metrics", ()):
            found += _object(metric, _METRIC, set(_METRIC) - {"filters"}, at)
            if metric["aggregation"] not in (1, 2, 3, 4, 7):
                found.append(f"{at}: aggregation {metric['aggregation']}")
            if not metric["metric"].startswith(f"{metric['namespace']}-"):
                found.append(f"{at}: {metric['metric']} is not of {metric['namespace']}")
            for each in metric.get("filters", ()):
                found += _object(each, _FILTER, set(_FILTER), at)
    return found


def _object(value: Any, rule: dict[str, type], needed: set[str], at: str) -> list[str]:
    found = [f"{at}.{each}: required" for each in sorted(needed - value.keys())]
    for key, each in value.items():
        if key not in rule:
            found.append(f"{at}.{key}: not known")
        elif not isinstance(each, rule[key]):
            found.append(f"{at}.{key}: no {rule[key].__name__}")
    return found


def _named(content: Any) -> list[str]:
    """Ids that a content names."""
    charts = [each["content"].get("resourceIds", ()) for each in content["items"]]
    return [*content.get("fallbackResourceIds", ()), *(each for one in charts for each in one)]


def shown(thing: dict[str, Any], query: dict[str, str]) -> None:
    """A workbook comes without its content to who does not ask for it."""
    if thing["type"].lower() == KIND and query.get("canFetchContent") != "true":
        thing["properties"].pop("serializedData", None)
