"""`[deploy.NAME]` with `target = "gcp"`: a machine in Google Compute Engine."""

from __future__ import annotations

import re

from roadworthy.project._range import Range
from roadworthy.project.deploy_cloud import CloudSection, Instances

_PROJECT = re.compile(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_SUBNET = re.compile(r"projects/[a-z0-9.:-]+/regions/[a-z0-9-]+/subnetworks/[a-z][a-z0-9-]{0,62}")
_IMAGE = re.compile(r"projects/[a-z0-9.:-]+/global/images/(family/)?[a-z][a-z0-9-]{0,62}")
_CERTIFICATE = re.compile(r"projects/[a-z0-9.:-]+/global/sslCertificates/[a-z][a-z0-9-]{0,62}")
_ACCOUNT = re.compile(r"[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com")


class GcpSection(CloudSection, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="gcp"):
    """`target = "gcp"`: an instance of Compute Engine, deployed to by SSH.

    Credentials are the application default ones.

    Attributes:
        zone: The zone, like `europe-west1-b`.
        project: Id of the project; None: that of the credentials, or `GOOGLE_CLOUD_PROJECT`.
        machine_type: Type of the machine, like `e2-small`.
        image: `projects/PROJECT/global/images/NAME` or `…/images/family/NAME`; None: Debian 12.
        user: Who logs in by SSH.
        subnet: `projects/PROJECT/regions/REGION/subnetworks/NAME` of your own; None: a network is
            made.
        instances: How many machines a fleet has; None: there is one machine, and no fleet.
        certificate: `projects/PROJECT/global/sslCertificates/NAME`, for a fleet's load balancer.
        service_account: E-mail of a service account of your own that the machine acts as; None:
            none, so that it may do nothing in the cloud.
    """

    identity: str = ""
    ssh_from: tuple[str, ...] = ()

    zone: str
    project: str | None = None
    machine_type: str = "e2-small"
    image: str | None = None
    user: str = "roadworthy"
    subnet: str | None = None
    service_account: str | None = None
    instances: Instances | None = None
    certificate: str | None = None

    @property
    def region(self) -> str:
        """The zone's region."""
        return self.zone.rpartition("-")[0]

    @property
    def place(self) -> str:
        """The cloud, and the zone or a fleet's region."""
        return f"gcp {self.region if self.fleet else self.zone}"

    @property
    def database_form(self) -> tuple[str, str]:
        """How classes of databases are named: a pattern, and one of them."""
        return r"db-(f1-micro|g1-small|custom-\d+-\d+|n1-[a-z]+-\d+)", "db-custom-1-3840"

    @property
    def fleet(self) -> bool:
        """Whether it is a fleet."""
        return self.instances is not None

    @property
    def secured(self) -> bool:
        """Whether callers are spoken to by TLS."""
        return self.certificate is not None or super().secured

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        project = self.project is None or bool(_PROJECT.fullmatch(self.project))
        image = self.image is None or bool(_IMAGE.fullmatch(self.image))
        subnet = self.subnet is None or bool(_SUBNET.fullmatch(self.subnet))
        account = self.service_account is None or bool(_ACCOUNT.fullmatch(self.service_account))
        user = bool(re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", self.user)) and self.user != "root"
        return [
            *super().ranges(),
            Range(
                bool(re.fullmatch(r"[a-z]+-[a-z]+\d+-[a-z]", self.zone)),
                "zone",
                "a zone like europe-west1-b",
            ),
            Range(project, "project", "the id of a project"),
            Range(
                bool(re.fullmatch(r"[a-z][a-z0-9]*-[a-z0-9-]+", self.machine_type)),
                "machine_type",
                "a type like e2-small",
            ),
            Range(image, "image", "projects/PROJECT/global/images/NAME or …/images/family/NAME"),
            Range(user, "user", "the name of a user other than root"),
            Range(subnet, "subnet", "projects/PROJECT/regions/REGION/subnetworks/NAME"),
            Range(account, "service_account", "the e-mail of a service account"),
            Range(self.disk_gb >= 10, "disk_gb", "at least 10: Google's images of Debian are that"),
            *self._fleet_ranges(),
        ]

    def _fleet_ranges(self) -> list[Range]:
        size, fleet = self.instances or Instances(), self.fleet
        known = self.certificate is None or bool(_CERTIFICATE.fullmatch(self.certificate))
        here = self.domain is None and self.tls_certificate is None
        everybody = self.allow_from == ("0.0.0.0/0",)
        own = self.service_account is None
        return [
            Range(1 <= size.min <= size.max <= 1000, "instances.min", "at least 1, at most max"),
            Range(10 <= size.cpu <= 95, "instances.cpu", "between 10 and 95"),
            Range(0 <= size.standby < self.keep, "instances.standby", "at least 0, below keep"),
            Range(known, "certificate", "projects/PROJECT/global/sslCertificates/NAME"),
            Range(fleet or not self.certificate, "certificate", "given with instances"),
            Range(not fleet or here, "certificate", "a fleet's TLS, not domain or tls_…"),
            Range(not fleet or everybody, "allow_from", "left out for a fleet: its load balancer "
                  "lets everybody in"),
            Range(not fleet or not self.secrets, "secrets", "left out for a fleet"),
            Range(not fleet or own, "service_account", "left out for a fleet: it has its own"),
        ]  # fmt: skip
