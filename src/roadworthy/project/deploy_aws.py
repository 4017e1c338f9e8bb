"""`[deploy.NAME]` with `target = "aws"`: a machine in EC2, or a fleet of them."""

from __future__ import annotations

import re
from typing import Literal

from roadworthy.project._range import Range
from roadworthy.project.deploy_cloud import CloudSection, Instances

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
_CERTIFICATE = re.compile(r"arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/[0-9a-f-]{36}")
_SUBNET = re.compile(r"subnet-[0-9a-f]{8,17}")


class AwsSection(CloudSection, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="aws"):
    """`target = "aws"`: an EC2 instance, deployed to by SSH, or a fleet behind a load balancer.

    Credentials come from where the AWS command line finds them.

    Attributes:
        region: The region, like `eu-central-1`.
        profile: Profile of the AWS configuration; None: as the environment says.
        instance_type: Type of the instance, like `t3.small`.
        image: AMI; None: the newest Debian 12 of Debian's own account.
        user: Who logs in by SSH, as the image has it.
        subnet: A public subnet of your own; None: a network is made.
        access: How machines are logged in to: `ssh` over the network, or `ssm` by way of Systems
            Manager, for which no port is open.
        instances: How many machines a fleet has; None: there is one machine, and no fleet.
        subnets: Public subnets of your own for a fleet, in at least two zones; where `subnet` is
            given, for the database beside the machine.
        certificate: ARN of a certificate of Certificate Manager, for a fleet's load balancer.
    """

    identity: str = ""
    ssh_from: tuple[str, ...] = ()

    region: str
    profile: str | None = None
    instance_type: str = "t3.small"
    image: str | None = None
    user: str = "admin"
    subnet: str | None = None
    access: Literal["ssh", "ssm"] = "ssh"
    instances: Instances | None = None
    subnets: tuple[str, ...] = ()
    certificate: str | None = None

    @property
    def place(self) -> str:
        """The cloud and the region."""
        return f"aws {self.region}"

    @property
    def database_form(self) -> tuple[str, str]:
        """How classes of databases are named: a pattern, and one of them."""
        return r"db\.[a-z0-9-]+\.[a-z0-9]+", "db.t4g.micro"

    @property
    def fleet(self) -> bool:
        """Whether it is a fleet."""
        return self.instances is not None

    @property
    def open_ssh(self) -> bool:
        """Whether SSH is reached over the network."""
        return self.access == "ssh" and not self.fleet

    @property
    def secured(self) -> bool:
        """Whether callers are spoken to by TLS."""
        return self.certificate is not None or super().secured

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        image = self.image is None or bool(re.fullmatch(r"ami-[0-9a-f]{8,17}", self.image))
        subnet = self.subnet is None or bool(_SUBNET.fullmatch(self.subnet))
        user = bool(re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", self.user))
        return [
            *super().ranges(),
            Range(bool(_REGION.fullmatch(self.region)), "region", "a region like eu-central-1"),
            Range(bool(_TYPE.fullmatch(self.instance_type)), "instance_type", "like t3.small"),
            Range(image, "image", "the id of an AMI, ami-…"),
            Range(user, "user", "the name of a user"),
            Range(subnet, "subnet", "the id of a subnet, subnet-…"),
            *self._fleet_ranges(),
        ]

    def _fleet_ranges(self) -> list[Range]:
        size = self.instances or Instances()
        own = all(_SUBNET.fullmatch(each) for each in self.subnets) and len(self.subnets) != 1
        known = self.certificate is None or bool(_CERTIFICATE.fullmatch(self.certificate))
        beside = self.subnet is not None and self.database is not None
        here = self.domain is None and self.tls_certificate is None
        return [
            Range(1 <= size.min <= size.max <= 1000, "instances.min", "at least 1, at most max"),
            Range(10 <= size.cpu <= 95, "instances.cpu", "between 10 and 95"),
            Range(0 <= size.standby < self.keep, "instances.standby", "at least 0, below keep"),
            Range(own, "subnets", "ids of at least two subnets, subnet-…"),
            Range(
                self.fleet or bool(self.subnets) == beside,
                "subnets",
                "a fleet's, or those of a database when subnet is given",
            ),
            Range(known, "certificate", "the ARN of a certificate, arn:aws:acm:…"),
            Range(self.fleet or not self.certificate, "certificate", "given with instances"),
            Range(not self.fleet or here, "certificate", "a fleet's TLS, not domain or tls_…"),
            Range(not (self.fleet and self.subnet), "subnets", "a fleet's, not subnet"),
        ]
