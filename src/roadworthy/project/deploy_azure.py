"""`[deploy.NAME]` with `target = "azure"`: a virtual machine in Azure."""

from __future__ import annotations

import re

from roadworthy.project._range import Range
from roadworthy.project.deploy_cloud import CloudSection, Instances

_GUID = r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_SUBNET = re.compile(
    rf"/subscriptions/{_GUID}/resourceGroups/[\w.()-]+/providers/Microsoft\.Network"
    r"/virtualNetworks/[\w.-]+/subnets/[\w.-]+"
)
_CERTIFICATE = re.compile(
    rf"/subscriptions/{_GUID}/resourceGroups/[\w.()-]+/providers/Microsoft\.KeyVault"
    r"/vaults/[A-Za-z0-9-]{3,24}/secrets/[A-Za-z0-9-]{1,127}"
)
_REFUSED = {
    "1", "123", "a", "actuser", "adm", "admin", "admin1", "admin2", "administrator", "aspnet",
    "backup", "console", "david", "guest", "john", "owner", "root", "server", "sql", "support",
    "support_388945a0", "sys", "test", "test1", "test2", "test3", "user", "user1", "user2",
    "user3", "user4", "user5", "video",
}  # fmt: skip


class AzureSection(
    CloudSection, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="azure"
):
    """`target = "azure"`: a virtual machine in a resource group of its own, deployed to by SSH.

    Credentials come from where Azure's libraries find them: the environment, a managed identity,
    `az login`.

    Attributes:
        region: The region, like `westeurope`.
        subscription: Id of the subscription; None: `AZURE_SUBSCRIPTION_ID`.
        disk_gb: Size of the machine's disk, which is encrypted.
        size: Size of the machine, like `Standard_B2s`.
        image: `PUBLISHER:OFFER:SKU:VERSION`; None: Debian 12.
        user: Who logs in by SSH.
        subnet: Id of a subnet of your own; None: a network is made.
        encryption_at_host: Whether temporary disks and caches are encrypted too; the subscription
            must have the feature.
        instances: How many machines a fleet has; None: there is one machine, and no fleet.
        zones: Zones of the region that a fleet is spread over; none where a region has none.
        certificate: Id of a secret of Key Vault, `/subscriptions/…/vaults/VAULT/secrets/NAME`, for
            a fleet's gateway; `domain` is then the name that it is for.
    """

    identity: str = ""
    ssh_from: tuple[str, ...] = ()

    region: str
    subscription: str | None = None
    disk_gb: int = 30
    size: str = "Standard_B2s"
    image: str | None = None
    user: str = "roadworthy"
    subnet: str | None = None
    encryption_at_host: bool = False
    instances: Instances | None = None
    zones: tuple[str, ...] = ("1", "2", "3")
    certificate: str | None = None

    @property
    def fleet(self) -> bool:
        """Whether it is a fleet."""
        return self.instances is not None

    @property
    def place(self) -> str:
        """The cloud and the region."""
        return f"azure {self.region}"

    @property
    def database_form(self) -> tuple[str, str]:
        """How classes of databases are named: a pattern, and one of them."""
        return r"Standard_[BDE]\d+[a-z]*(_v\d+)?", "Standard_B1ms"

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        subscription = self.subscription is None or bool(re.fullmatch(_GUID, self.subscription))
        image = self.image is None or bool(re.fullmatch(r"[\w.-]+(:[\w.-]+){3}", self.image))
        user = bool(re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", self.user))
        subnet = self.subnet is None or bool(_SUBNET.fullmatch(self.subnet))
        region = bool(re.fullmatch(r"[a-z]+[a-z0-9]*", self.region))
        size = bool(re.fullmatch(r"Standard_[A-Za-z0-9_-]+", self.size))
        return [
            *super().ranges(),
            Range(region, "region", "a region as the command line names it, like westeurope"),
            Range(subscription, "subscription", "the id of a subscription"),
            Range(size, "size", "a size like Standard_B2s"),
            Range(image, "image", "PUBLISHER:OFFER:SKU:VERSION"),
            Range(
                user and self.user not in _REFUSED,
                "user",
                "the name of a user that Azure allows: not root, admin, test and the like",
            ),
            Range(subnet, "subnet", "the id of a subnet, /subscriptions/…/subnets/NAME"),
            Range(self.disk_gb >= 30, "disk_gb", "at least 30: Azure's images of Debian are that"),
            *self._fleet_ranges(),
        ]

    def _fleet_ranges(self) -> list[Range]:
        size, fleet = self.instances or Instances(), self.fleet
        known = self.certificate is None or bool(_CERTIFICATE.fullmatch(self.certificate))
        own = self.tls_certificate is None and (self.domain is None) == (self.certificate is None)
        zones = set(self.zones) <= {"1", "2", "3"} and len(set(self.zones)) == len(self.zones)
        everybody = self.allow_from == ("0.0.0.0/0",)
        return [
            Range(1 <= size.min <= size.max <= 100, "instances.min", "at least 1, at most max"),
            Range(10 <= size.cpu <= 95, "instances.cpu", "between 10 and 95"),
            Range(0 <= size.standby < self.keep, "instances.standby", "at least 0, below keep"),
            Range(known, "certificate", "the id of a secret, /subscriptions/…/vaults/VAULT/secrets/"
                  "NAME"),
            Range(fleet or not self.certificate, "certificate", "given with instances"),
            Range(not fleet or own, "certificate", "a fleet's TLS, given with domain, not tls_…"),
            Range(zones, "zones", "1, 2 and 3, each once"),
            Range(not fleet or everybody, "allow_from", "left out for a fleet: its gateway lets "
                  "everybody in"),
            Range(not fleet or not self.secrets, "secrets", "left out for a fleet"),
            Range(not fleet or self.subnet is None, "subnet", "left out for a fleet: it makes its "
                  "network"),
            Range(not fleet or self.keep <= 8, "keep", "at most 8 for a fleet: a tag holds them"),
        ]  # fmt: skip
