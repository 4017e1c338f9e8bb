"""One list of alarms, and what a target that they go to must do."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from roadworthy.monitor.findings import BROKEN_DATA
from roadworthy.project.monitor import AlarmName, AlarmSeverity, QualityKeys


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One alarm.

    Attributes:
        name: Its name, by which `[monitor.alarms]` and the docs know it.
        what: What rings, in a sentence.
        action: What to do.
        direction: Whether it rings above or below its threshold.
        threshold: From where.
        unit: Unit of the threshold, for people.
        minutes: For how long it must be so.
        quiet_minutes: For how long it must be otherwise before it is over.
        severity: Who is told, and when.
        link: Where it says what to do.
    """

    name: AlarmName
    what: str
    action: str
    direction: Literal[">", "<"] = ">"
    threshold: float
    unit: str = ""
    minutes: float
    quiet_minutes: float = 10
    severity: AlarmSeverity
    link: str = ""


class Place(NamedTuple):
    """Which service alarms are about.

    Attributes:
        model: The model's name.
        service: Name of the service in its cloud: the Prometheus job, the CloudWatch dimension.
        notify: Who is told there: an SNS topic, an action group, a notification channel; empty
            leaves it to be filled in.
        resource: What runs it, for alarms on the machine: an instance id, a resource id.
        balancer: What callers reach it through, where that counts requests, errors and seconds by
            itself: a load balancer as its cloud names it in metrics.
        fleet: The deployment whose machines, or whose one machine, tell how busy they are; alarms
            look at the worst of them.
    """

    model: str
    service: str = "roadworthy"
    notify: str = ""
    resource: str = ""
    balancer: str = ""
    fleet: str = ""


class AlarmTarget(Protocol):
    """Where alarms go."""

    name: str

    def render(self, alarms: tuple[Alarm, ...], place: Place) -> dict[str, bytes]:
        """File name -> content of the documents that the target takes."""
        ...


DATA_KINDS = tuple(sorted(BROKEN_DATA))
DRIFT_KINDS = ("correlation", "drift", "joint_drift", "prediction_drift")
QUALITY_KINDS = ("calibration", "concept_drift", "estimated_drop", "labels", "quality_drop")
KINDS = {"data": DATA_KINDS, "drift": DRIFT_KINDS, "quality": QUALITY_KINDS}
"""Findings that each alarm on findings rings for."""
_OTHERS = {"healed": "data", "traffic": "no_traffic", "store": "log_lost"}
_BY_KIND = {kind: name for name, kinds in KINDS.items() for kind in kinds} | _OTHERS


def alarm_of(kind: str) -> str:
    """The name of the alarm that rings for a kind of finding."""
    return _BY_KIND.get(kind, kind)


def link_of(kind: str, runbook: str) -> str:
    """Where it says what to do about a kind of finding."""
    return f"{runbook}#alarm-{alarm_of(kind)}"


_ALARMS = (
    Alarm(
        name="down", what="the service does not answer", threshold=1, direction="<", minutes=2,
        action="look at its log; it restarts by itself unless the bundle is refused",
        severity="page",
    ),
    Alarm(
        name="errors", what="too many requests end in 5xx", threshold=0.01, unit="share",
        minutes=5, action="look at the log for the fault; roll back if a release began it",
        severity="page",
    ),
    Alarm(
        name="latency", what="the slowest answers take too long", threshold=0.5, unit="s",
        minutes=10, action="look at load and request sizes; add workers or machines",
        severity="page",
    ),
    Alarm(
        name="no_traffic", what="nobody asks any more", threshold=1, unit="requests",
        direction="<", minutes=30, action="look at the callers, the network and the keys",
        severity="ticket",
    ),
    Alarm(
        name="log_lost", what="the prediction log loses rows", threshold=0, unit="rows",
        minutes=5, action="make room on the disk, or raise [serve] log_rows", severity="ticket",
    ),
    Alarm(
        name="data", what="data arrive broken", threshold=0, unit="findings", minutes=1,
        action="roadworthy advise; fix the column at its source, do not retrain",
        severity="page", quiet_minutes=60,
    ),
    Alarm(
        name="drift", what="data or predictions drift", threshold=0, unit="findings", minutes=60,
        action="roadworthy advise: does it hurt?", severity="info", quiet_minutes=360,
    ),
    Alarm(
        name="quality", what="the model is worse than it was", threshold=0, unit="findings",
        minutes=60, action="roadworthy advise", severity="ticket", quiet_minutes=360,
    ),
    Alarm(
        name="stale_model", what="the model is old", threshold=365, unit="days", minutes=60,
        action="roadworthy retrain", severity="ticket", quiet_minutes=60,
    ),
    Alarm(
        name="certificate", what="the certificate ends soon", threshold=14, unit="days",
        direction="<", minutes=60, action="renew it; the server reloads it by itself",
        severity="ticket", quiet_minutes=60,
    ),
    Alarm(
        name="cpu", what="processors are busy", threshold=0.9, unit="share", minutes=15,
        action="add workers or machines", severity="ticket",
    ),
    Alarm(
        name="memory", what="memory runs out", threshold=0.9, unit="share", minutes=10,
        action="fewer workers, smaller requests, or a larger machine", severity="page",
    ),
    Alarm(
        name="disk", what="the disk runs full", threshold=0.85, unit="share", minutes=10,
        action="move old segments of the prediction log away", severity="page",
    ),
)  # fmt: skip


def alarm_list(options: QualityKeys) -> tuple[Alarm, ...]:
    """The alarms that are on, as `[monitor.alarms]` has them."""
    found = []
    for alarm in _ALARMS:
        said = options.alarms.get(alarm.name)
        changes: dict[str, Any] = {"link": f"{options.runbook}#alarm-{alarm.name}"}
        if said is not None:
            if not said.on:
                continue
            for key in ("threshold", "minutes", "severity"):
                value = getattr(said, key)
                if value is not None:
                    changes[key] = value
        found.append(msgspec.structs.replace(alarm, **changes))
    return tuple(found)
