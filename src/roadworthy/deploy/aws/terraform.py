"""The parts of a deployment on AWS as resources of Terraform's provider `hashicorp/aws`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from roadworthy.deploy.aws.part import Part
from roadworthy.deploy.cloud.filling import fill
from roadworthy.deploy.cloud.terraform import escaped

Resources = dict[str, dict[str, Any]]
"""Type and name, with a dot between -> arguments."""
_REFERENCES = {
    "aws-network": "${aws_vpc.network.id}",
    "aws-gateway": "${aws_internet_gateway.gateway.id}",
    "aws-subnet": "${aws_subnet.subnet.id}",
    "aws-routes": "${aws_route_table.routes.id}",
    "aws-firewall": "${aws_security_group.firewall.id}",
    "aws-instance": "${aws_instance.instance.id}",
    "aws-topic": "${aws_sns_topic.topic.arn}",
    "image": "${data.aws_ami.image.id}",
    "image.disk": "${data.aws_ami.image.root_device_name}",
    "subnet.network": "${data.aws_subnet.own.vpc_id}",
}


def document(parts: Mapping[str, Part], region: str) -> dict[str, Any]:
    """What Terraform reads.

    Args:
        parts: The parts, by id.
        region: The region.
    """
    resources: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for part in parts.values():
        for place, arguments in _KINDS[part.kind](part, _filled(part)).items():
            kind, _, name = place.partition(".")
            if kind.startswith("data-"):
                data.setdefault(kind.removeprefix("data-"), {})[name] = arguments
            else:
                resources.setdefault(kind, {})[name] = arguments
    return {
        "terraform": {
            "required_version": ">= 1.5",
            "required_providers": {"aws": {"source": "hashicorp/aws", "version": ">= 5.40"}},
        },
        "provider": {"aws": {"region": region}},
        "data": data,
        "resource": resources,
        "output": {"address": {"value": "${aws_eip.address.public_ip}"}},
    }


def _filled(part: Part) -> dict[str, Any]:
    given = {key: value for key, value in part.make.parameters.items() if key not in _OWN}
    filled: dict[str, Any] = fill(given, _REFERENCES)
    name = part.make.parameters.get(
        "TagSpecifications", [{"Tags": part.make.parameters.get("Tags")}]
    )
    values = {each["Key"]: each["Value"] for each in name[0]["Tags"]}
    return filled | {"tags": {"Name": values["Name"]}}


_OWN = ("TagSpecifications", "Tags", "AlarmDescription")


def _network(part: Part, made: dict[str, Any]) -> Resources:
    return {"aws_vpc.network": {"cidr_block": made["CidrBlock"], "tags": made["tags"]}}


def _gateway(part: Part, made: dict[str, Any]) -> Resources:
    arguments = {"vpc_id": _REFERENCES["aws-network"], "tags": made["tags"]}
    return {"aws_internet_gateway.gateway": arguments}


def _subnet(part: Part, made: dict[str, Any]) -> Resources:
    arguments = {"vpc_id": made["VpcId"], "cidr_block": made["CidrBlock"], "tags": made["tags"]}
    return {"aws_subnet.subnet": arguments}


def _routes(part: Part, made: dict[str, Any]) -> Resources:
    route = {"route_table_id": _REFERENCES["aws-routes"], "destination_cidr_block": "0.0.0.0/0",
             "gateway_id": _REFERENCES["aws-gateway"]}  # fmt: skip
    association = {"route_table_id": _REFERENCES["aws-routes"],
                   "subnet_id": _REFERENCES["aws-subnet"]}  # fmt: skip
    return {
        "aws_route_table.routes": {"vpc_id": made["VpcId"], "tags": made["tags"]},
        "aws_route.internet": route,
        "aws_route_table_association.routes": association,
    }


def _firewall(part: Part, made: dict[str, Any]) -> Resources:
    group = _REFERENCES["aws-firewall"]
    found: Resources = {
        "aws_security_group.firewall": {
            "name": f"{made['GroupName']}-terraform",
            "description": made["Description"],
            "vpc_id": made["VpcId"],
            "tags": made["tags"],
        },
        # Terraform takes the rule away that AWS gives to every group
        "aws_vpc_security_group_egress_rule.all": {
            "security_group_id": group, "ip_protocol": "-1", "cidr_ipv4": "0.0.0.0/0",
        },
    }  # fmt: skip
    for number, each in enumerate(part.settle):
        (rule,) = each.parameters["IpPermissions"]
        found[f"aws_vpc_security_group_ingress_rule.rule{number}"] = {
            "security_group_id": group, "ip_protocol": rule["IpProtocol"],
            "from_port": rule["FromPort"], "to_port": rule["ToPort"],
            "cidr_ipv4": rule["IpRanges"][0]["CidrIp"],
        }  # fmt: skip
    if part.look:
        found["data-aws_subnet.own"] = {"id": part.look[0].parameters["SubnetIds"][0]}
    return found


def _key(part: Part, made: dict[str, Any]) -> Resources:
    arguments = {"key_name": f"{made['KeyName']}-terraform",
                 "public_key": made["PublicKeyMaterial"], "tags": made["tags"]}  # fmt: skip
    return {"aws_key_pair.key": arguments}


def _instance(part: Part, made: dict[str, Any]) -> Resources:
    disk = made["BlockDeviceMappings"][0]["Ebs"]
    instance = {
        "ami": made["ImageId"],
        "instance_type": made["InstanceType"],
        "key_name": "${aws_key_pair.key.key_name}",
        "subnet_id": made["SubnetId"],
        "vpc_security_group_ids": made["SecurityGroupIds"],
        "metadata_options": _snake(made["MetadataOptions"]),
        "root_block_device": _snake(disk),
        "tags": made["tags"],
        # a newer image is no reason to make the machine anew
        "lifecycle": {"ignore_changes": ["ami"]},
    }
    asked = part.look[0].parameters
    if "ImageIds" in asked:
        wanted = [{"name": "image-id", "values": asked["ImageIds"]}]
        image: dict[str, Any] = {"filter": wanted}
    else:
        filters = [_snake(each) for each in asked["Filters"]]
        image = {"most_recent": True, "owners": asked["Owners"], "filter": filters}
    return {"aws_instance.instance": instance, "data-aws_ami.image": image}


def _address(part: Part, made: dict[str, Any]) -> Resources:
    arguments = {"domain": made["Domain"], "instance": _REFERENCES["aws-instance"],
                 "tags": made["tags"]}  # fmt: skip
    return {"aws_eip.address": arguments}


def _topic(part: Part, made: dict[str, Any]) -> Resources:
    found = {"aws_sns_topic.topic": {"name": f"{made['Name']}-terraform", "tags": made["tags"]}}
    for number, each in enumerate(part.settle):
        found[f"aws_sns_topic_subscription.told{number}"] = {
            "topic_arn": _REFERENCES["aws-topic"], "protocol": "email",
            "endpoint": escaped(each.parameters["Endpoint"]),
        }  # fmt: skip
    return found


def _alarm(part: Part, made: dict[str, Any]) -> Resources:
    arguments = {_word(key): value for key, value in made.items() if key != "Dimensions"}
    arguments |= {
        "alarm_name": f"{made['AlarmName']}-terraform",
        "alarm_description": escaped(part.make.parameters["AlarmDescription"]),
        "dimensions": {each["Name"]: each["Value"] for each in made["Dimensions"]},
    }
    return {f"aws_cloudwatch_metric_alarm.{part.id.rpartition('-')[2]}": arguments}


def _snake(given: Mapping[str, Any]) -> dict[str, Any]:
    return {_word(key): value for key, value in given.items()}


def _word(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


_KINDS: dict[str, Callable[[Part, dict[str, Any]], Resources]] = {
    "network": _network,
    "gateway": _gateway,
    "subnet": _subnet,
    "routes": _routes,
    "firewall": _firewall,
    "key": _key,
    "instance": _instance,
    "address": _address,
    "topic": _topic,
    "alarm": _alarm,
}
