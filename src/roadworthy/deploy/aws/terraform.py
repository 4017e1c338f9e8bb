"""The parts of a deployment on AWS as resources of Terraform's provider `hashicorp/aws`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from roadworthy.deploy.aws.fleet.terraform import FLEET_KINDS
from roadworthy.deploy.aws.part import Part
from roadworthy.deploy.aws.terraform_words import filled, image, label, reference, snake, word
from roadworthy.deploy.cloud.terraform import Resources, escaped, gathered

_LOOKS: dict[str, dict[str, Any]] = {
    "data-aws_caller_identity.current": {},
    "data-aws_partition.current": {},
    "data-aws_availability_zones.available": {
        "state": "available",
        "filter": [{"name": "zone-type", "values": ["availability-zone"]}],
    },
}
"""What is looked up where something refers to it."""


def document(parts: Mapping[str, Part], region: str, more: Resources) -> dict[str, Any]:
    """What Terraform reads.

    Args:
        parts: The parts, by id, of a deployment that nobody else makes.
        region: The region.
        more: Resources that no part is.
    """
    found: Resources = dict(more)
    for part in parts.values():
        found |= (_KINDS | FLEET_KINDS)[part.kind](part, filled(part, parts))
    text = repr(found)
    found |= {place: each for place, each in _LOOKS.items()
              if f"data.{place.removeprefix('data-')}." in text}  # fmt: skip
    address = "${aws_eip.address.public_ip}"
    if "aws_lb.balancer" in found:
        address = "${aws_lb.balancer.dns_name}"
    outputs = {"address": {"value": address}}
    if "aws_iam_role.ci" in found:
        outputs["role"] = {"value": "${aws_iam_role.ci.arn}"}
    provider = {"aws": {"region": region}}
    return gathered(found, "aws", "hashicorp/aws", ">= 5.40", provider) | {"output": outputs}


def _network(part: Part, made: dict[str, Any]) -> Resources:
    return {"aws_vpc.network": {"cidr_block": made["CidrBlock"], "tags": made["tags"]}}


def _gateway(part: Part, made: dict[str, Any]) -> Resources:
    arguments = {"vpc_id": reference("aws-network"), "tags": made["tags"]}
    return {"aws_internet_gateway.gateway": arguments}


def _subnet(part: Part, made: dict[str, Any]) -> Resources:
    arguments = {"vpc_id": made["VpcId"], "cidr_block": made["CidrBlock"], "tags": made["tags"]}
    if "AvailabilityZone" in made:
        arguments["availability_zone"] = made["AvailabilityZone"]
    if part.settle:
        arguments["map_public_ip_on_launch"] = True
    return {f"aws_subnet.{label(part.id)}": arguments}


def _routes(part: Part, made: dict[str, Any]) -> Resources:
    route = {"route_table_id": reference(part.id), "destination_cidr_block": "0.0.0.0/0",
             "gateway_id": reference("aws-gateway")}  # fmt: skip
    subnets = [each.parameters["SubnetId"][2:-1] for each in part.settle
               if each.operation == "AssociateRouteTable"]  # fmt: skip
    return {
        "aws_route_table.routes": {"vpc_id": made["VpcId"], "tags": made["tags"]},
        "aws_route.internet": route,
        **{
            f"aws_route_table_association.{label(each)}": {
                "route_table_id": reference(part.id), "subnet_id": reference(each),
            }
            for each in subnets
        },
    }  # fmt: skip


def _firewall(part: Part, made: dict[str, Any]) -> Resources:
    group, name = reference(part.id), label(part.id)
    found: Resources = {
        f"aws_security_group.{name}": {
            "name": made["GroupName"],
            "description": made["Description"],
            "vpc_id": made["VpcId"],
            "tags": made["tags"],
        },
        # Terraform takes the rule away that AWS gives to every group
        f"aws_vpc_security_group_egress_rule.{name}": {
            "security_group_id": group, "ip_protocol": "-1", "cidr_ipv4": "0.0.0.0/0",
        },
    }  # fmt: skip
    for number, each in enumerate(part.settle):
        (rule,) = each.parameters["IpPermissions"]
        arguments = {
            "security_group_id": group, "ip_protocol": rule["IpProtocol"],
            "from_port": rule["FromPort"], "to_port": rule["ToPort"],
        }  # fmt: skip
        if "IpRanges" in rule:
            arguments["cidr_ipv4"] = rule["IpRanges"][0]["CidrIp"]
        else:
            other = rule["UserIdGroupPairs"][0]["GroupId"][2:-1]
            arguments["referenced_security_group_id"] = reference(other)
        found[f"aws_vpc_security_group_ingress_rule.{name}{number}"] = arguments
    if part.look:
        found["data-aws_subnet.own"] = {"id": part.look[0].parameters["SubnetIds"][0]}
    return found


def _key(part: Part, made: dict[str, Any]) -> Resources:
    arguments = {"key_name": made["KeyName"], "public_key": made["PublicKeyMaterial"],
                 "tags": made["tags"]}  # fmt: skip
    return {"aws_key_pair.key": arguments}


def _instance(part: Part, made: dict[str, Any]) -> Resources:
    disk = made["BlockDeviceMappings"][0]["Ebs"]
    instance = {
        "ami": made["ImageId"],
        "instance_type": made["InstanceType"],
        "key_name": "${aws_key_pair.key.key_name}",
        "subnet_id": made["SubnetId"],
        "vpc_security_group_ids": made["SecurityGroupIds"],
        "metadata_options": snake(made["MetadataOptions"]),
        "root_block_device": snake(disk),
        "tags": made["tags"],
        # a newer image is no reason to make the machine anew
        "lifecycle": {"ignore_changes": ["ami"]},
    }
    waits = ["aws_route.internet"] if "aws-routes" in part.needs else []
    if "IamInstanceProfile" in made:
        instance["iam_instance_profile"] = made["IamInstanceProfile"]["Name"]
    if "UserData" in made:
        instance["user_data"] = escaped(part.make.parameters["UserData"])
        waits.append("aws_iam_role_policy_attachment.role")
    if waits:
        instance["depends_on"] = waits
    return {"aws_instance.instance": instance, **image(part)}


def _address(part: Part, made: dict[str, Any]) -> Resources:
    arguments = {"domain": made["Domain"], "instance": reference("aws-instance"),
                 "tags": made["tags"]}  # fmt: skip
    return {"aws_eip.address": arguments}


def _topic(part: Part, made: dict[str, Any]) -> Resources:
    found = {"aws_sns_topic.topic": {"name": made["Name"], "tags": made["tags"]}}
    for number, each in enumerate(part.settle):
        found[f"aws_sns_topic_subscription.told{number}"] = {
            "topic_arn": reference(part.id), "protocol": "email",
            "endpoint": escaped(each.parameters["Endpoint"]),
        }  # fmt: skip
    return found


def _alarm(part: Part, made: dict[str, Any]) -> Resources:
    apart = ("Dimensions", "Metrics", "settle")
    arguments = {word(key): value for key, value in made.items() if key not in apart}
    arguments["alarm_description"] = escaped(part.make.parameters["AlarmDescription"])
    if "Dimensions" in made:
        arguments["dimensions"] = _dimensions(made)
    if "Metrics" in made:
        arguments["metric_query"] = [_query(each) for each in made["Metrics"]]
    name = re.sub(r"\W", "_", part.id.removeprefix("aws-alarm-"))
    return {f"aws_cloudwatch_metric_alarm.{name}": arguments}


def _dashboard(part: Part, made: dict[str, Any]) -> Resources:
    document = msgspec.json.decode(made["DashboardBody"])
    # the text holds the marks by which apply and destroy know theirs
    shown = [each for each in document["widgets"] if each["type"] != "text"]
    body = msgspec.json.encode({**document, "widgets": shown}).decode()
    arguments = {"dashboard_name": made["DashboardName"], "dashboard_body": body}
    return {"aws_cloudwatch_dashboard.dashboard": arguments}


def _dimensions(metric: Mapping[str, Any]) -> dict[str, str]:
    return {each["Name"]: each["Value"] for each in metric["Dimensions"]}


def _query(query: Mapping[str, Any]) -> dict[str, Any]:
    found = {word(key): value for key, value in query.items() if key != "MetricStat"}
    if "MetricStat" in query:
        stat = query["MetricStat"]
        found["metric"] = {
            "namespace": stat["Metric"]["Namespace"], "metric_name": stat["Metric"]["MetricName"],
            "dimensions": _dimensions(stat["Metric"]), "period": stat["Period"],
            "stat": stat["Stat"],
        }  # fmt: skip
    return found


def _role(part: Part, made: dict[str, Any]) -> Resources:
    """A role: that of the machines, or the pipeline's with the provider that it trusts."""
    name, found = label(part.id), Resources()
    role: dict[str, Any] = {
        "name": made["RoleName"], "tags": made["tags"],
        "assume_role_policy": made["AssumeRolePolicyDocument"],
    }  # fmt: skip
    for each in made["settle"]:
        given, own = each.parameters, f"${{aws_iam_role.{name}.name}}"
        if each.operation == "PutRolePolicy":
            found[f"aws_iam_role_policy.{name}"] = {
                "role": own, "name": given["PolicyName"], "policy": given["PolicyDocument"],
            }  # fmt: skip
        elif each.operation == "AttachRolePolicy":
            attached = {"role": own, "policy_arn": given["PolicyArn"]}
            found[f"aws_iam_role_policy_attachment.{name}"] = attached
        elif each.operation == "CreateOpenIDConnectProvider":
            checked = {"url": given["Url"], "client_id_list": given["ClientIDList"]}
            found[f"aws_iam_openid_connect_provider.{name}"] = checked
            role["depends_on"] = [f"aws_iam_openid_connect_provider.{name}"]
    return {f"aws_iam_role.{name}": role, **found}


def _profile(part: Part, made: dict[str, Any]) -> Resources:
    arguments = {"name": made["InstanceProfileName"], "role": reference("aws-role"),
                 "tags": made["tags"]}  # fmt: skip
    return {"aws_iam_instance_profile.profile": arguments}


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
    "dashboard": _dashboard,
    "role": _role,
    "ci role": _role,
    "profile": _profile,
}
