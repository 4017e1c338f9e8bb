"""A resource of Azure as plain data: where it is, and the document that makes it."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec

from roadworthy.deploy.cloud.prices import PAID
from roadworthy.deploy.cloud.provider import DEPLOYMENT, MODEL, PART
from roadworthy.deploy.plan import Price, Step

VERSIONS = {
    "microsoft.resources/resourcegroups": "2022-09-01",
    "microsoft.managedidentity/userassignedidentities": "2023-01-31",
    "microsoft.managedidentity/userassignedidentities/federatedidentitycredentials": "2023-01-31",
    "microsoft.dbforpostgresql/flexibleservers": "2024-08-01",
    "microsoft.dbforpostgresql/flexibleservers/databases": "2024-08-01",
    "microsoft.dbforpostgresql/flexibleservers/administrators": "2024-08-01",
    "microsoft.dbforpostgresql/flexibleservers/firewallrules": "2024-08-01",
    "microsoft.storage/storageaccounts": "2024-01-01",
    "microsoft.storage/storageaccounts/blobservices/containers": "2024-01-01",
    "microsoft.network/networksecuritygroups": "2024-05-01",
    "microsoft.network/publicipaddresses": "2024-05-01",
    "microsoft.network/natgateways": "2024-05-01",
    "microsoft.network/virtualnetworks": "2024-05-01",
    "microsoft.network/networkinterfaces": "2024-05-01",
    "microsoft.network/privatednszones": "2024-06-01",
    "microsoft.network/privatednszones/virtualnetworklinks": "2024-06-01",
    "microsoft.network/privateendpoints": "2024-05-01",
    "microsoft.network/privateendpoints/privatednszonegroups": "2024-05-01",
    "microsoft.network/applicationgateways": "2024-05-01",
    "microsoft.compute/virtualmachines": "2024-11-01",
    "microsoft.compute/virtualmachinescalesets": "2024-11-01",
    "microsoft.insights/autoscalesettings": "2022-10-01",
    "microsoft.insights/actiongroups": "2023-01-01",
    "microsoft.insights/metricalerts": "2018-03-01",
    "microsoft.insights/workbooks": "2023-06-01",
    "microsoft.authorization/roleassignments": "2022-04-01",
}
"""Kind, in lower case -> version of its interface; in the order in which they are made."""


class Naming(msgspec.Struct, frozen=True):
    """Names and tags of one deployment's parts."""

    subscription: str
    deployment: str
    model: str

    @property
    def name(self) -> str:
        """The name of the resource group, and the beginning of all others."""
        return f"roadworthy-{self.deployment}"

    @property
    def group(self) -> str:
        """Path of the resource group."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.name}"

    def path(self, kind: str, name: str) -> str:
        """Path of a resource in the group."""
        return f"{self.group}/providers/{kind}/{name}"

    def tags(self, part: str) -> dict[str, str]:
        """The tags of a part."""
        return {DEPLOYMENT: self.deployment, PART: part, MODEL: self.model}


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a deployment.

    Attributes:
        id: Its name, in the plan and in its tag.
        what: What it is, in words.
        path: Where Azure has it.
        kind: Its type, like `Microsoft.Network/virtualNetworks`.
        body: The document that makes it, with tags where its kind has any; `${…}` stands for
            what Azure makes up.
        needs: Ids of parts that come before.
        price: What it costs.
    """

    id: str
    what: str
    path: str
    kind: str
    body: dict[str, Any]
    needs: tuple[str, ...] = ()
    price: Price | None = None

    @property
    def version(self) -> str:
        """Version of the interface."""
        return VERSIONS[self.kind.lower()]

    def step(self, endpoint: str) -> Step:
        """The step that makes it."""
        body = msgspec.json.encode(self.body).decode()
        url = f"{endpoint}{self.path}?api-version={self.version}"
        return Step(
            id=self.id,
            what=self.what,
            change="create",
            document={"path": self.path, "version": self.version, "body": self.body},
            needs=self.needs,
            command=shlex.join(["az", "rest", "--method", "put", "--url", url, "--body", body]),
            price=self.price,
            paid=self.kind in PAID["azure"],
        )
