"""How Terraform names what parts of a deployment on AWS are, and what they refer to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from roadworthy.deploy.aws.part import Part
from roadworthy.deploy.cloud.filling import fill
from roadworthy.deploy.cloud.terraform import Resources

_PLACES = (
    (r"aws-network", "aws_vpc", "id"),
    (r"aws-gateway", "aws_internet_gateway", "id"),
    (r"aws-subnet(-\d)?", "aws_subnet", "id"),
    (r"aws-routes", "aws_route_table", "id"),
    (r"aws-(outer-|database-)?firewall", "aws_security_group", "id"),
    (r"aws-instance", "aws_instance", "id"),
    (r"aws-topic", "aws_sns_topic", "arn"),
    (r"aws-profile", "aws_iam_instance_profile", "name"),
    (r"aws-role", "aws_iam_role", "name"),
    (r"aws-bucket|aws-store", "aws_s3_bucket", "id"),
    (r"aws-balancer", "aws_lb", "arn"),
    (r"aws-listener", "aws_lb_listener", "arn"),
    (r"aws-targets-.+", "aws_lb_target_group", "arn"),
    (r"aws-template-.+", "aws_launch_template", "id"),
    (r"aws-database-subnets", "aws_db_subnet_group", "name"),
)
"""Part -> its resource, and what of it others name."""
_FIXED = {
    "account": "${data.aws_caller_identity.current.account_id}",
    "partition": "${data.aws_partition.current.partition}",
    "image": "${data.aws_ami.image.id}",
    "image.disk": "${data.aws_ami.image.root_device_name}",
    "subnet.network": "${data.aws_subnet.own.vpc_id}",
    "aws-balancer.suffix": "${aws_lb.balancer.arn_suffix}",
    **{f"zone.{number}": f"${{data.aws_availability_zones.available.names[{number - 1}]}}"
       for number in (1, 2)},
}  # fmt: skip
_OWN = ("TagSpecifications", "Tags", "AlarmDescription")


def label(part: str) -> str:
    """The name of a part's resource; of what only a release has, that of its kind."""
    found = re.fullmatch(r"aws-(template|targets|group)-.+", part)
    return found[1] if found else re.sub(r"\W", "_", part.removeprefix("aws-"))


def reference(part: str) -> str:
    """How others name a part; empty: nothing names it."""
    for pattern, resource, attribute in _PLACES:
        if re.fullmatch(pattern, part):
            return f"${{{resource}.{label(part)}.{attribute}}}"
    return ""


def filled(part: Part, parts: Mapping[str, Part]) -> dict[str, Any]:
    """What makes a part, with Terraform's references; its later calls as `settle`.

    Args:
        part: The part.
        parts: All of them, by id.
    """
    known = _FIXED | {each: reference(each) for each in parts}
    given = {key: value for key, value in part.make.parameters.items() if key not in _OWN}
    made: dict[str, Any] = fill(given, known)
    marks = part.make.parameters.get("TagSpecifications")
    tags = marks[0]["Tags"] if marks else part.make.parameters.get("Tags") or []
    name = next((each["Value"] for each in tags if each["Key"] == "Name"), "")
    settle = [
        msgspec.structs.replace(each, parameters=_settled(each.parameters, known))
        for each in part.settle
    ]
    return made | {"tags": {"Name": name} if name else {}, "settle": settle}


def _settled(parameters: dict[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """With what is a variable of AWS' own, `${aws:…}`, told apart from Terraform's."""
    found: dict[str, Any] = fill(parameters, known)
    return {key: re.sub(r"\$\{(?=aws:)", "$${", value) if isinstance(value, str) else value
            for key, value in found.items()}  # fmt: skip


def image(part: Part) -> Resources:
    """The image that a part looks up."""
    asked = part.look[0].parameters
    if "ImageIds" in asked:
        wanted = [{"name": "image-id", "values": asked["ImageIds"]}]
        return {"data-aws_ami.image": {"filter": wanted}}
    filters = [snake(each) for each in asked["Filters"]]
    return {
        "data-aws_ami.image": {"most_recent": True, "owners": asked["Owners"], "filter": filters}
    }


def snake(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by the names that Terraform has for them."""
    return {word(key): value for key, value in given.items()}


def word(name: str) -> str:
    """A name of AWS as Terraform writes it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
