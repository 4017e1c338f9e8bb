"""CloudWatch alarms (the parameters of PutMetricAlarm) and a dashboard.

Metrics come under the names that `/metrics` gives them, in the namespace `Roadworthy`; those of the
machine from EC2 and from the CloudWatch agent; those of a fleet's machines from themselves, in a
namespace of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roadworthy.bundle.manifest import to_json
from roadworthy.monitor.alarms._base import KINDS, Alarm, Place

NAMESPACE = "Roadworthy"
_OPERATORS = {">": "GreaterThanThreshold", "<": "LessThanThreshold"}
_MACHINE = {
    "cpu": ("AWS/EC2", "CPUUtilization"),
    "memory": ("CWAgent", "mem_used_percent"),
    "disk": ("CWAgent", "disk_used_percent"),
}
_SINGLE = {
    "down": ("roadworthy_up", "Minimum"),
    "no_traffic": ("roadworthy_requests_total", "Sum"),
    "log_lost": ("roadworthy_log_dropped_total", "Sum"),
    "stale_model": ("roadworthy_model_age_days", "Maximum"),
    "certificate": ("roadworthy_certificate_days", "Minimum"),
}
_BALANCER = "AWS/ApplicationELB"
BALANCED = ("down", "errors", "latency", "no_traffic")
"""Alarms that a load balancer's own metrics can ring."""
OF_MACHINES = tuple(_MACHINE)
"""Alarms that what machines tell can ring."""
_MISSING = {"down": "breaching", "no_traffic": "breaching"}


def machines_of(deployment: str) -> str:
    """The namespace in which the machines of a deployment tell how busy they are."""
    return f"{NAMESPACE}/{deployment}"


class CloudWatch:
    """`alarms.json`: one PutMetricAlarm each; `dashboard.json`: the body of PutDashboard."""

    name = "cloudwatch"

    def render(self, alarms: tuple[Alarm, ...], place: Place) -> dict[str, bytes]:
        """See `AlarmTarget`."""
        rendered = [_alarm(alarm, place) for alarm in alarms]
        return {
            "cloudwatch-alarms.json": to_json(rendered),
            "cloudwatch-dashboard.json": to_json(
                dashboard([each["AlarmName"] for each in rendered], place)
            ),
        }


def _alarm(alarm: Alarm, place: Place) -> dict[str, Any]:
    seconds, count = _periods(alarm)
    if _tells(alarm.name, place):  # the worst machine of every minute
        seconds, count = 60, min(max(1, round(alarm.minutes)), 1440)
    percent = 100.0 if alarm.name in _MACHINE else 1.0
    document: dict[str, Any] = {
        "AlarmName": f"roadworthy-{place.model}-{alarm.name}",
        "AlarmDescription": (
            f"{alarm.severity}: {place.model}: {alarm.what}. {alarm.action}. {alarm.link}"
        ),
        "ComparisonOperator": _OPERATORS[alarm.direction],
        "Threshold": alarm.threshold * percent,
        "EvaluationPeriods": count,
        "DatapointsToAlarm": count,
        "TreatMissingData": _MISSING.get(alarm.name, "notBreaching"),
        "ActionsEnabled": True,
        "AlarmActions": [place.notify] if place.notify else [],
        "OKActions": [place.notify] if place.notify else [],
        "Tags": [{"Key": "roadworthy", "Value": place.model}],
    }
    if place.balancer and alarm.name == "down":  # the balancer tells what it could not hand on
        document |= {"ComparisonOperator": _OPERATORS[">"], "Threshold": 0.0}
        document["TreatMissingData"] = "notBreaching"
    queries = _queries(alarm, place, seconds)
    if len(queries) > 1:
        return document | {"Metrics": queries}
    stat = queries[0]["MetricStat"]
    how = "ExtendedStatistic" if str(stat["Stat"]).startswith("p") else "Statistic"
    return document | {
        "Namespace": stat["Metric"]["Namespace"],
        "MetricName": stat["Metric"]["MetricName"],
        "Dimensions": stat["Metric"]["Dimensions"],
        "Period": stat["Period"],
        how: stat["Stat"],
    }


def _queries(alarm: Alarm, place: Place, seconds: int) -> list[dict[str, Any]]:
    model = {"model": place.model}
    if place.balancer and alarm.name in BALANCED:
        return _balanced(alarm, place, seconds)
    if alarm.name == "errors":
        return [
            _metric("errors", "roadworthy_errors_total", model, "Sum", seconds),
            _metric("requests", "roadworthy_requests_total", model, "Sum", seconds),
            _formula("errors / IF(requests > 0, requests, 1)", alarm.what),
        ]
    if alarm.name == "latency":
        name = "roadworthy_request_duration_seconds"
        return [_metric("m", name, model, "p99", seconds)]
    if alarm.name in KINDS:
        kinds = [
            _metric(f"m{number}", "roadworthy_findings", model | {"kind": kind}, "Maximum", seconds)
            for number, kind in enumerate(KINDS[alarm.name])
        ]
        return [*kinds, _formula("MAX(METRICS())", alarm.what)]
    if _tells(alarm.name, place):
        name = f"machine_{alarm.name}_percent"
        return [_metric("m", name, {}, "Maximum", seconds, machines_of(place.fleet))]
    if alarm.name in _MACHINE:
        space, name = _MACHINE[alarm.name]
        where = {"InstanceId": place.resource or "INSTANCE"}
        return [_metric("m", name, where, "Average", seconds, space)]
    name, stat = _SINGLE[alarm.name]
    return [_metric("m", name, model, stat, seconds)]


def _tells(name: str, place: Place) -> bool:
    """Whether machines tell it by themselves; of one machine EC2 knows the processors."""
    return name in _MACHINE and bool(place.fleet) and not (name == "cpu" and place.resource)


def _balanced(alarm: Alarm, place: Place, seconds: int) -> list[dict[str, Any]]:
    where = {"LoadBalancer": place.balancer}
    if alarm.name == "errors":
        counts = {"failed": "HTTPCode_Target_5XX_Count", "refused": "HTTPCode_ELB_5XX_Count",
                  "requests": "RequestCount"}  # fmt: skip
        return [
            *(_metric(key, name, where, "Sum", seconds, _BALANCER) for key, name in counts.items()),
            _formula("(FILL(failed, 0) + FILL(refused, 0)) / requests", alarm.what),
        ]
    name, stat = {
        "down": ("HTTPCode_ELB_503_Count", "Sum"),
        "latency": ("TargetResponseTime", "p99"),
        "no_traffic": ("RequestCount", "Sum"),
    }[alarm.name]
    return [_metric("m", name, where, stat, seconds, _BALANCER)]


def _metric(
    key: str, name: str, where: dict[str, str], stat: str, seconds: int, space: str = NAMESPACE
) -> dict[str, Any]:
    dimensions = [{"Name": key, "Value": value} for key, value in sorted(where.items())]
    metric = {"Namespace": space, "MetricName": name, "Dimensions": dimensions}
    return {
        "Id": key,
        "MetricStat": {"Metric": metric, "Period": seconds, "Stat": stat},
        "ReturnData": False,
    }


def _formula(text: str, label: str) -> dict[str, Any]:
    return {"Id": "result", "Expression": text, "Label": label, "ReturnData": True}


def _periods(alarm: Alarm) -> tuple[int, int]:
    """Period in seconds (a multiple of 60) and how many of them; together a day at most."""
    minutes = min(max(1, round(alarm.minutes)), 1440)
    length = 1 if minutes <= 5 else 5 if minutes <= 60 else 60
    return length * 60, max(1, minutes // length)


def dashboard(alarms: Sequence[str], place: Place) -> dict[str, Any]:
    """The body of PutDashboard.

    Args:
        alarms: Names of the alarms that it shows.
        place: What it is about; a balancer and a machine tell of themselves what they can.
    """
    graphs = {**_calls(place), **_machine(place), **_of_model(place)}
    widgets: list[dict[str, Any]] = [
        {
            "type": "metric", "x": 8 * (number % 3), "y": 6 * (number // 3), "width": 8,
            "height": 6,
            "properties": {
                "title": f"{place.model}: {title}", "metrics": metrics, "view": "timeSeries",
                "stat": "Sum", "period": 300, "region": "${AWS_REGION}",
            },
        }
        for number, (title, metrics) in enumerate(graphs.items())
    ]  # fmt: skip
    names = [f"arn:aws:cloudwatch:${{AWS_REGION}}:${{AWS_ACCOUNT}}:alarm:{each}" for each in alarms]
    number = len(widgets)
    widgets.append(
        {
            "type": "alarm", "x": 8 * (number % 3), "y": 6 * (number // 3), "width": 8,
            "height": 6, "properties": {"title": "alarms", "alarms": names},
        }
    )  # fmt: skip
    return {"widgets": widgets}


def _calls(place: Place) -> dict[str, list[Any]]:
    """Requests, errors and seconds: of the balancer, where there is one, else of the service."""
    if place.balancer:
        counted = {name: [_BALANCER, name, "LoadBalancer", place.balancer]
                   for name in ("RequestCount", "HTTPCode_Target_5XX_Count",
                                "HTTPCode_ELB_5XX_Count", "TargetResponseTime")}  # fmt: skip
        requests, failed, refused, seconds = counted.values()
        return {
            "requests": [requests], "errors": [failed, refused],
            "p99 latency": [[*seconds, {"stat": "p99"}]],
        }  # fmt: skip
    duration = "roadworthy_request_duration_seconds"
    return {
        "requests": [[NAMESPACE, "roadworthy_requests_total", "model", place.model]],
        "errors": [[NAMESPACE, "roadworthy_errors_total", "model", place.model]],
        "p99 latency": [[NAMESPACE, duration, "model", place.model, {"stat": "p99"}]],
    }


def _machine(place: Place) -> dict[str, list[Any]]:
    if place.resource:
        measured = [
            [machines_of(place.fleet), f"machine_{name}_percent", {"stat": "Maximum"}]
            if _tells(name, place)
            else [*metric, "InstanceId", place.resource, {"stat": "Average"}]
            for name, metric in _MACHINE.items()
        ]
        return {"percent of processors, memory and disk": measured}
    if place.fleet:
        space = machines_of(place.fleet)
        names = {each: f"machine_{each}_percent" for each in _MACHINE}
        worst = [[space, name, {"stat": "Maximum"}] for name in names.values()]
        return {
            "the worst machine: percent of processors, memory and disk": worst,
            **{
                f"each machine: percent of {each}": [
                    [{"expression": _each_machine(space, name), "id": each}]
                ]
                for each, name in names.items()
            },
        }  # fmt: skip
    return {}


def _of_model(place: Place) -> dict[str, list[Any]]:
    return {
        "quality": [
            [{"expression": _search("roadworthy_quality", place), "id": "q"}],
            [{"expression": _search("roadworthy_quality_estimated", place), "id": "e"}],
        ],
        "findings": [[{"expression": _search("roadworthy_findings", place), "id": "f"}]],
    }


def _each_machine(space: str, name: str) -> str:
    return f"SEARCH('{{{space},InstanceId}} MetricName=\"{name}\"', 'Average')"


def _search(name: str, place: Place) -> str:
    wanted = f'Namespace="{NAMESPACE}" MetricName="{name}" model="{place.model}"'
    return f"SEARCH('{wanted}', 'Maximum')"
