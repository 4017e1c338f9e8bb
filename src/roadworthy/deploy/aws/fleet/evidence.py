"""What a fleet's release that failed has said: what its group did, consoles and logs."""

from __future__ import annotations

from typing import Any

from roadworthy.bundle.manifest import to_json
from roadworthy.deploy.aws.account import Account
from roadworthy.deploy.aws.call import call
from roadworthy.deploy.evidence import SHOWN_LINES
from roadworthy.errors import RoadworthyError


def gather(account: Account, group: str, log_group: str) -> tuple[dict[str, bytes], list[str]]:
    """What is known of the machines of a group, as files and as lines to show.

    Args:
        account: Who asks.
        group: The Auto Scaling group.
        log_group: Where its machines write their log.
    """
    machines, activities = _group(account, group)
    files = {"activities.json": to_json(activities)}
    shown = [f"{each['StatusCode']}: {each.get('StatusMessage') or each.get('Cause')}"
             for each in activities[:3]]  # fmt: skip
    for machine in machines[:3]:
        log = _log(account, log_group, machine)
        files[f"{machine}.log"] = f"{log}\n".encode()
        files[f"{machine}.console"] = _console(account, machine).encode()
        shown += log.splitlines()[-SHOWN_LINES:]
    return files, shown


def _group(account: Account, group: str) -> tuple[list[str], list[dict[str, Any]]]:
    """The group's machines, and what it did, the newest first; dates as text."""
    named = {"AutoScalingGroupNames": [group]}
    groups = account.call(call("autoscaling", "DescribeAutoScalingGroups", **named))
    machines = [each["InstanceId"] for one in groups.get("AutoScalingGroups") or ()
                for each in one.get("Instances") or ()]  # fmt: skip
    asked = call("autoscaling", "DescribeScalingActivities", ("ValidationError",),
                 AutoScalingGroupName=group)  # fmt: skip
    activities = account.call(asked).get("Activities") or []
    return machines, [{key: str(value) for key, value in each.items()} for each in activities]


def _log(account: Account, group: str, machine: str) -> str:
    asked = call("logs", "GetLogEvents", ("ResourceNotFoundException",), logGroupName=group,
                 logStreamName=machine, limit=200)  # fmt: skip
    events = account.call(asked).get("events") or []
    return "\n".join(str(each["message"]).rstrip() for each in events)


def _console(account: Account, machine: str) -> str:
    try:
        asked = call("ec2", "GetConsoleOutput", InstanceId=machine)
        return str(account.call(asked).get("Output", ""))
    except RoadworthyError as error:  # the machine has ended
        return error.what
