"""What the strict server lacks: callers, sent where its gateway's document says.

The machines of a scale set are one server of the very version that its release names.
"""

from __future__ import annotations

import fnmatch

from tests.deploy.azure.arm_server import SUBSCRIPTION, Arm
from tests.deploy.balancer import Balancer

_GATEWAY = (
    f"/subscriptions/{SUBSCRIPTION}/resourcegroups/roadworthy-prod/providers/"
    "microsoft.network/applicationgateways/roadworthy-prod"
)


class AzureBalancer(Balancer):
    """The callers' side of a deployment.

    Attributes:
        seen: Paths that were asked, with the release that answered.
    """

    def __init__(self, arm: Arm) -> None:
        super().__init__()
        self.arm = arm
        self.seen: list[tuple[str, str]] = []

    def release_for(self, path: str) -> str:
        """The release whose pool a path leads to, when its machines are healthy."""
        with self.arm.guard:
            if (gateway := self.arm.things.get(_GATEWAY)) is None:
                return ""
            (places,) = gateway["properties"]["urlPathMaps"]
            chosen = places["properties"]["defaultBackendAddressPool"]["id"]
            for rule in places["properties"]["pathRules"]:
                told = rule["properties"]
                if any(fnmatch.fnmatch(path, each) for each in told["paths"]):
                    chosen = told["backendAddressPool"]["id"]
            release = chosen.rpartition("/")[2].removeprefix("release-")
            place = f"{_GATEWAY.partition('/microsoft.network')[0]}/microsoft.compute"
            found = self.arm.things.get(f"{place}/virtualmachinescalesets/rw-{release}")
            well = found is not None and found["sku"]["capacity"] and self.arm.healthy(release)
        self.seen.append((path, release))
        return release if well else ""
