"""Alarms of CloudWatch, the topic of SNS that tells people, and the dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from roadworthy.deploy.aws.account import Account
from roadworthy.deploy.aws.call import Call, call, tags
from roadworthy.deploy.aws.fleet.wanted import BALANCER
from roadworthy.deploy.aws.kind import Kind, Known, There, Thing
from roadworthy.deploy.aws.part import Naming, Part
from roadworthy.deploy.aws.wanted import INSTANCE
from roadworthy.deploy.cloud.provider import DEPLOYMENT
from roadworthy.monitor.alarms import TARGETS, Place, alarm_list
from roadworthy.monitor.alarms.cloudwatch import BALANCED, OF_MACHINES, dashboard
from roadworthy.project import AwsSection, Project

TOPIC, DASHBOARD = "aws-topic", "aws-dashboard"
_MACHINE = "aws-alarm-machine"
_GONE = ("NotFound", "NotFoundException", "ResourceNotFoundException", "ResourceNotFound")


def watching_parts(naming: Naming, section: AwsSection, project: Project) -> tuple[Part, ...]:
    """The topic, the alarms that AWS and the machines themselves can ring, and the dashboard."""
    if not section.alarms:
        return ()
    told = ", ".join(section.notify) or "nobody yet: set notify"
    topic = Part(
        id=TOPIC,
        kind="topic",
        what=f"a topic for alarms, which tells {told}",
        make=call("sns", "CreateTopic", Name=naming.name, Tags=naming.tags(TOPIC)),
        settle=tuple(
            call("sns", "Subscribe", TopicArn=f"${{{TOPIC}}}", Protocol="email", Endpoint=mail)
            for mail in section.notify
        ),
    )
    if section.fleet:
        place = Place(naming.model, notify=f"${{{TOPIC}}}", balancer=f"${{{BALANCER}.suffix}}",
                      fleet=naming.deployment)  # fmt: skip
        alarms = _rendered(naming, project, (*BALANCED, *OF_MACHINES), place, BALANCER)
        return topic, *alarms, _dashboard(naming, section, alarms, place)
    place = Place(naming.model, notify=f"${{{TOPIC}}}", resource=f"${{{INSTANCE}}}",
                  fleet=naming.deployment)  # fmt: skip
    alarms = [
        _alarm(naming, _MACHINE, _machine(), "the machine fails its checks, or is off", INSTANCE),
        *_rendered(naming, project, OF_MACHINES, place, INSTANCE),
    ]
    return topic, *alarms, _dashboard(naming, section, alarms, place)


def _dashboard(naming: Naming, section: AwsSection, alarms: Sequence[Part], place: Place) -> Part:
    """A dashboard has no tags that older libraries know, so it carries them as a text."""
    names = [str(each.make.parameters["AlarmName"]) for each in alarms]
    document = dashboard(names, place)
    marks = " ".join(f"{each['Key']}={each['Value']}" for each in naming.tags(DASHBOARD))
    below = max(each["y"] + each["height"] for each in document["widgets"])
    document["widgets"].append(
        {"type": "text", "x": 0, "y": below, "width": 24, "height": 2,
         "properties": {"markdown": marks}}
    )  # fmt: skip
    body = msgspec.json.encode(document).decode().replace("arn:aws:", "arn:${partition}:")
    body = body.replace("${AWS_REGION}", section.region).replace("${AWS_ACCOUNT}", "${account}")
    return Part(
        id=DASHBOARD, kind="dashboard", what="a dashboard of requests, errors, seconds and alarms",
        look=(call("cloudwatch", "GetDashboard", _GONE, DashboardName=naming.name),),
        make=call("cloudwatch", "PutDashboard", DashboardName=naming.name, DashboardBody=body),
        needs=tuple(each.id for each in alarms),
    )  # fmt: skip


def _rendered(
    naming: Naming, project: Project, names: Sequence[str], place: Place, about: str
) -> list[Part]:
    """Those of `[monitor.alarms]` that metrics of the load balancer, or of machines, can ring."""
    on = tuple(alarm for alarm in alarm_list(project.monitor) if alarm.name in names)
    rendered = TARGETS["cloudwatch"].render(on, place)["cloudwatch-alarms.json"]
    documents = msgspec.json.decode(rendered, type=list[dict[str, Any]])
    return [
        _alarm(naming, f"aws-alarm-{alarm.name}", document, alarm.what, about)
        for alarm, document in zip(on, documents, strict=True)
    ]


def _machine() -> dict[str, Any]:
    """An instance that is stopped sends nothing: that rings too."""
    return {
        "AlarmDescription": "page: the machine fails its checks, or is off. Look at its console.",
        "Namespace": "AWS/EC2",
        "MetricName": "StatusCheckFailed",
        "Dimensions": [{"Name": "InstanceId", "Value": f"${{{INSTANCE}}}"}],
        "Statistic": "Maximum",
        "Period": 60,
        "EvaluationPeriods": 3,
        "DatapointsToAlarm": 3,
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 0.0,
        "TreatMissingData": "breaching",
        "ActionsEnabled": True,
        "AlarmActions": [f"${{{TOPIC}}}"],
        "OKActions": [f"${{{TOPIC}}}"],
    }


def _alarm(naming: Naming, part: str, document: dict[str, Any], what: str, about: str) -> Part:
    # the slash keeps deployments apart of which one's name begins with the other's
    named = {"AlarmName": f"{naming.name}/{part.removeprefix('aws-alarm-')}"}
    make = call("cloudwatch", "PutMetricAlarm", **document | named | {"Tags": naming.tags(part)})
    return Part(id=part, kind="alarm", what=f"an alarm: {what}", make=make, needs=(TOPIC, about))


def _find_alarms(account: Account, deployment: str) -> list[Thing]:
    prefix = f"roadworthy-{deployment}/"
    answer = account.call(call("cloudwatch", "DescribeAlarms", AlarmNamePrefix=prefix))
    found = []
    for each in answer.get("MetricAlarms") or []:
        asked = call("cloudwatch", "ListTagsForResource", ResourceARN=each["AlarmArn"])
        marks = tags(account.call(asked))
        if marks.get(DEPLOYMENT) == deployment:
            found.append(Thing(id=str(each["AlarmName"]), there=each, tags=marks))
    return found


def _alarm_differs(there: There, part: Part, known: Known) -> str:
    wanted = _filled(part, known).parameters.items()
    other = [key for key, value in wanted if key != "Tags" and there.get(key, []) != value]
    return f"another {', '.join(sorted(other))}" if other else ""


def _filled(part: Part, known: Known) -> Call:
    """The call; what it is about may not be there any more."""
    return part.make.filled({TOPIC: "", INSTANCE: "", f"{BALANCER}.suffix": "", **known})


def _put_again(there: There, part: Part, known: Known) -> list[Call]:
    return [_filled(part, known)]


def _find_dashboards(account: Account, deployment: str) -> list[Thing]:
    name = Naming(deployment, "").name
    answer = account.call(call("cloudwatch", "GetDashboard", _GONE, DashboardName=name))
    try:
        document = msgspec.json.decode(answer.get("DashboardBody") or "{}")
        texts = [each["properties"]["markdown"] for each in document.get("widgets", ())
                 if each.get("type") == "text"]  # fmt: skip
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError):
        return []  # it is somebody else's
    words = [each.partition("=") for text in texts for each in text.split()]
    marks = {key: value for key, _, value in words}
    if marks.get(DEPLOYMENT) != deployment:
        return []
    return [Thing(id=name, there={"DashboardName": name, "document": document}, tags=marks)]


def _dashboard_differs(there: There, part: Part, known: Known) -> str:
    wanted = msgspec.json.decode(_filled(part, known).parameters["DashboardBody"])
    return "" if there["document"] == wanted else "it shows something else"


def _remove_dashboard(there: There) -> list[Call]:
    return [call("cloudwatch", "DeleteDashboards", _GONE,
                 DashboardNames=[there["DashboardName"]])]  # fmt: skip


def _remove_alarm(there: There) -> list[Call]:
    gone = ("ResourceNotFound",)
    return [call("cloudwatch", "DeleteAlarms", gone, AlarmNames=[there["AlarmName"]])]


def _find_topic(account: Account, deployment: str) -> list[Thing]:
    partition = account.partition
    name = f"arn:{partition}:sns:{account.region}:{account.id}:roadworthy-{deployment}"
    marks = tags(account.call(call("sns", "ListTagsForResource", _GONE, ResourceArn=name)))
    if marks.get(DEPLOYMENT) != deployment:
        return []
    asked = call("sns", "ListSubscriptionsByTopic", _GONE, TopicArn=name)
    told = [each["Endpoint"] for each in account.call(asked).get("Subscriptions") or []]
    return [Thing(id=name, there={"TopicArn": name, "told": told}, tags=marks)]


def _topic_differs(there: There, part: Part, known: Known) -> str:
    wanted = [each.parameters["Endpoint"] for each in part.settle]
    lacking = [each for each in wanted if each not in there["told"]]
    return f"does not tell {', '.join(lacking)}" if lacking else ""


def _remove_topic(there: There) -> list[Call]:
    return [call("sns", "DeleteTopic", _GONE, TopicArn=there["TopicArn"])]


WATCHING = {
    "dashboard": Kind(_find_dashboards, _remove_dashboard, _dashboard_differs, _put_again),
    "alarm": Kind(_find_alarms, _remove_alarm, _alarm_differs, _put_again),
    "topic": Kind(_find_topic, _remove_topic, _topic_differs),
}
"""Kind -> how it is looked after, in the order in which they are taken away."""
