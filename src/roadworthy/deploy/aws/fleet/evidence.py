"""What is kept of a fleet's release that failed: what its group did, consoles and logs."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.bundle.manifest import to_json
from roadworthy.deploy.aws.account import Account
from roadworthy.deploy.aws.call import call
from roadworthy.errors import CheckFailed, OutsideError, RoadworthyError

_KEPT = 20
_SHOWN = 25


class Evidence:
    """A folder of this machine, one folder in it for each release that failed.

    Args:
        folder: Where.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def listed(self) -> list[str]:
        """What is kept, the newest first."""
        if not self.folder.is_dir():
            return []
        return sorted((each.name for each in self.folder.iterdir()), reverse=True)

    def keep(self, account: Account, group: str, log_group: str, release: str, verdict: object,
             what: str) -> CheckFailed:  # fmt: skip
        """Keep what is known of the machines of a group.

        Returns:
            The error that shows it.

        Raises:
            OutsideError: The folder cannot be written.
        """
        machines, activities = _group(account, group)
        files = {
            "activities.json": to_json(activities),
            "verdict.json": msgspec.json.format(msgspec.json.encode(verdict), indent=2),
        }
        shown = [f"{each['StatusCode']}: {each.get('StatusMessage') or each.get('Cause')}"
                 for each in activities[:3]]  # fmt: skip
        for machine in machines[:3]:
            log = _log(account, log_group, machine)
            files[f"{machine}.log"] = f"{log}\n".encode()
            files[f"{machine}.console"] = _console(account, machine).encode()
            shown += log.splitlines()[-_SHOWN:]
        moment = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}"
        folder = self.folder / f"{moment}-{release}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                (folder / name).write_bytes(content)
            for name in self.listed()[_KEPT:]:
                for file in (self.folder / name).iterdir():
                    file.unlink()
                (self.folder / name).rmdir()
        except OSError as error:
            raise OutsideError(
                f"{what}; and what it said cannot be kept: {error.strerror or error}",
                where=str(folder),
            ) from None
        text = "\n    ".join(shown)
        return CheckFailed(
            f"{release}: {what}; callers still get what they got before\n    {text}",
            where=str(folder),
            fix="logs, consoles and answers are kept there; mend the cause, run again",
        )


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
