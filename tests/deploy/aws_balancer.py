"""What moto's load balancer lacks: callers. It sends them where moto's listener and rules say.

The machines of a target group are one server of the very version that the group's release names.
"""

from __future__ import annotations

import fnmatch
import random
import threading
from typing import Any

import boto3

from roadworthy.deploy.aws.call import tags
from roadworthy.deploy.cloud.provider import DEPLOYMENT, PART
from tests.deploy.aws_server import Aws
from tests.deploy.balancer import Balancer

State = tuple[list[tuple[str, str]], dict[str, int], dict[str, str]]
"""Rules (path, target group), default weights, and the release of each target group."""


class AwsBalancer(Balancer):
    """The callers' side of a deployment's listener."""

    def __init__(self, aws: Aws, region: str) -> None:
        super().__init__()
        self.aws = aws
        self.deployment = ""
        url = f"http://127.0.0.1:{aws.port}"  # past the door: its own questions do not count
        self.client = boto3.client(
            "elbv2", region, endpoint_url=url, aws_access_key_id="t", aws_secret_access_key="t"
        )
        self._lock = threading.Lock()
        self._seen = -1
        self._state: State = ([], {}, {})

    def _now(self) -> State:
        """What moto has, asked again when somebody may have changed it."""
        with self._lock:
            seen = len(self.aws.calls)
            if seen != self._seen:
                self._state = self._asked()
                self._seen = seen
            return self._state

    def _asked(self) -> State:
        releases: dict[str, str] = {}
        for each in self.client.describe_target_groups()["TargetGroups"]:
            asked = self.client.describe_tags(ResourceArns=[each["TargetGroupArn"]])
            marks = tags(asked["TagDescriptions"][0])
            if marks.get(DEPLOYMENT) == self.deployment:
                name = marks[PART].removeprefix("aws-targets-")
                releases[each["TargetGroupArn"]] = name
        rules: list[tuple[str, str]] = []
        weights: dict[str, int] = {}
        for balancer in self.client.describe_load_balancers()["LoadBalancers"]:
            asked = self.client.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])
            for listener in asked["Listeners"]:
                found = self._rules(listener["ListenerArn"], releases)
                rules += found
                for action in listener["DefaultActions"]:
                    for one in action.get("ForwardConfig", {}).get("TargetGroups", []):
                        if one["TargetGroupArn"] in releases:
                            weights[one["TargetGroupArn"]] = int(one["Weight"])
        return rules, weights, releases

    def _rules(self, listener: str, releases: dict[str, str]) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for rule in self.client.describe_rules(ListenerArn=listener)["Rules"]:
            to = rule["Actions"][0].get("TargetGroupArn", "")
            if not rule["IsDefault"] and to in releases:
                values: Any = rule["Conditions"][0]["PathPatternConfig"]["Values"]
                found += [(value, to) for value in values]
        return found

    def release_for(self, path: str) -> str:
        """The release that the rules or, where none fits, the weights send a path to."""
        rules, weights, releases = self._now()
        to = next((to for pattern, to in rules if fnmatch.fnmatch(path, pattern)), None)
        if to is None and any(weights.values()):
            (to,) = random.choices(list(weights), list(weights.values()))
        return "" if to is None else releases[to]
