"""Where a fleet's callers go: what the listener's weights say, and who is healthy."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from subprocess import PIPE
from typing import Any

from roadworthy.deploy.aws.call import call
from roadworthy.deploy.aws.fleet.releases import release_of, targets_of
from roadworthy.deploy.aws.fleet.wanted import BALANCER, LISTENER
from roadworthy.deploy.aws.kind import Thing
from roadworthy.deploy.aws.provider import AwsProvider
from roadworthy.deploy.host.probe import ask
from roadworthy.deploy.tunnel import tunnel
from roadworthy.project import AwsSection

SERVED = "roadworthy-served"
"""The tag of a target group that says since when its release served."""
_PAUSE = 2.0


class Traffic:
    """The listener of a fleet.

    Args:
        provider: What is there, as it was observed last.
    """

    def __init__(self, provider: AwsProvider) -> None:
        self.provider = provider
        self.account = provider.account

    def _things(self, kind: str) -> Iterator[Thing]:
        return (each for found, each in self.provider.seen if found == kind)

    @property
    def address(self) -> str:
        """The name of the balancer; empty: there is none."""
        return self.provider.known.get(f"{BALANCER}.address", "")

    @property
    def weights(self) -> dict[str, int]:
        """Release -> its share of the callers, as it was observed last."""
        names = {each.id: release_of(each.part) for each in self._things("targets")}
        listener = next((each for each in self._things("listener") if each.part == LISTENER), None)
        found: dict[str, int] = {}
        for action in listener.there.get("DefaultActions") or () if listener else ():
            for each in action.get("ForwardConfig", {}).get("TargetGroups") or ():
                release = names.get(each["TargetGroupArn"])
                if release is not None:
                    found[release] = int(each.get("Weight", 1))
        return found

    @property
    def serving(self) -> str | None:
        """The release that callers get."""
        weights = {release: each for release, each in self.weights.items() if each}
        return max(weights, key=lambda release: weights[release], default=None)

    @property
    def before(self) -> list[str]:
        """Releases that served and are kept, the last one first."""
        groups = {release_of(each.part) for each in self._things("group")}
        served = {release_of(each.part): each.tags.get(SERVED) for each in self._things("targets")}
        found = [each for each, since in served.items()
                 if each in groups and since and each != self.serving]  # fmt: skip
        return sorted((each for each in found if each), key=lambda each: str(served[each]))[::-1]

    def forward(self, weights: Mapping[str, int]) -> None:
        """Send callers to releases by weight."""
        groups = [{"TargetGroupArn": self.targets(release), "Weight": weight}
                  for release, weight in weights.items()]  # fmt: skip
        actions = [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]
        listener = self.provider.known[LISTENER]
        self.provider.repeat(
            call("elbv2", "ModifyListener", ListenerArn=listener, DefaultActions=actions)
        )

    def turn_away(self) -> None:
        """Send callers nowhere, as before the first release."""
        actions = self.provider.parts[LISTENER].make.parameters["DefaultActions"]
        listener = self.provider.known[LISTENER]
        self.provider.repeat(
            call("elbv2", "ModifyListener", ListenerArn=listener, DefaultActions=actions)
        )

    def targets(self, release: str) -> str:
        """The target group of a release."""
        return self.provider.known[targets_of(release)]

    def mark(self, release: str, since: str) -> None:
        """Write down since when a release serves."""
        self.provider.repeat(
            call("elbv2", "AddTags", ResourceArns=[self.targets(release)],
                 Tags=[{"Key": SERVED, "Value": since}])
        )  # fmt: skip

    def health(self, release: str) -> list[dict[str, Any]]:
        """What the balancer says of each machine of a release."""
        asked = call("elbv2", "DescribeTargetHealth", TargetGroupArn=self.targets(release))
        return list(self.account.call(asked).get("TargetHealthDescriptions") or [])

    def healthy(self, release: str) -> int:
        """How many machines of a release answer."""
        return sum(each["TargetHealth"]["State"] == "healthy" for each in self.health(release))

    def answered(self, section: AwsSection, seconds: float = 60.0) -> str:
        """Ask as callers do until they are answered; what was said at last, empty when well."""
        scheme, end = "https" if section.certificate else "http", time.monotonic() + seconds
        while (said := ask(scheme, self.address, section.public_port)) != "200":
            if time.monotonic() > end:
                return said
            time.sleep(_PAUSE)
        return ""

    @contextlib.contextmanager
    def way_in(self, section: AwsSection) -> Iterator[str]:
        """An address by which the balancer is reached, before its own name is the certificate's."""
        if section.certificate is None:
            yield f"http://{self.address}:{section.public_port}"
            return
        asked = call("acm", "DescribeCertificate", CertificateArn=section.certificate)
        name = str(self.account.call(asked)["Certificate"]["DomainName"])
        relay = [sys.executable, "-m", "roadworthy.deploy.cloud.relay", self.address,
                 str(section.public_port), name.replace("*", "roadworthy")]  # fmt: skip
        with tunnel(lambda: subprocess.Popen(relay, stdin=PIPE, stdout=PIPE)) as url:
            yield url
