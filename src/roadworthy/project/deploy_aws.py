"""`[deploy.NAME]` with `target = "aws"`: a machine in EC2."""

from __future__ import annotations

import re

from roadworthy.project._range import Range
from roadworthy.project.deploy_cloud import CloudSection

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")


class AwsSection(CloudSection, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="aws"):
    """`target = "aws"`: an EC2 instance, deployed to by SSH.

    Credentials come from where the AWS command line finds them.

    Attributes:
        region: The region, like `eu-central-1`.
        profile: Profile of the AWS configuration; None: as the environment says.
        instance_type: Type of the instance, like `t3.small`.
        image: AMI; None: the newest Debian 12 of Debian's own account.
        user: Who logs in by SSH, as the image has it.
        subnet: A public subnet of your own; None: a network is made.
    """

    region: str
    profile: str | None = None
    instance_type: str = "t3.small"
    image: str | None = None
    user: str = "admin"
    subnet: str | None = None

    @property
    def place(self) -> str:
        """The cloud and the region."""
        return f"aws {self.region}"

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        image = self.image is None or bool(re.fullmatch(r"ami-[0-9a-f]{8,17}", self.image))
        subnet = self.subnet is None or bool(re.fullmatch(r"subnet-[0-9a-f]{8,17}", self.subnet))
        user = bool(re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", self.user))
        return [
            *super().ranges(),
            Range(bool(_REGION.fullmatch(self.region)), "region", "a region like eu-central-1"),
            Range(bool(_TYPE.fullmatch(self.instance_type)), "instance_type", "like t3.small"),
            Range(image, "image", "the id of an AMI, ami-…"),
            Range(user, "user", "the name of a user"),
            Range(subnet, "subnet", "the id of a subnet, subnet-…"),
        ]
