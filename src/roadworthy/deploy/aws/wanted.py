"""What a section asks of AWS: every part, from the network to the address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roadworthy.deploy.aws.call import Call
from roadworthy.deploy.aws.part import Naming, Part
from roadworthy.deploy.aws.role import PROFILE, agent_script, machine_of, role_parts
from roadworthy.deploy.aws.telling import logs_part, policy
from roadworthy.deploy.cloud.keys import public_key
from roadworthy.deploy.cloud.prices import price_of
from roadworthy.project import AwsSection

NETWORK, GATEWAY, SUBNET, ROUTES = "aws-network", "aws-gateway", "aws-subnet", "aws-routes"
FIREWALL, KEY, INSTANCE, ADDRESS = "aws-firewall", "aws-key", "aws-instance", "aws-address"
HAD_ROLE, AGENT = "roadworthy-role", "agent"
_DEBIAN = "136693071363"
"""The account of Debian's images (https://wiki.debian.org/Cloud/AmazonEC2Image)."""
_THERE = ("Resource.AlreadyAssociated",)
_BLOCK = "10.83.0.0/16"


def machine_parts(naming: Naming, section: AwsSection) -> tuple[Part, ...]:
    """The instance and all that it needs."""
    # the database is in two zones of its own, so that it can come and go beside the machine
    zones = (0,) if section.database is None else (0, 1, 2)
    network = () if section.subnet else network_parts(naming, zones)
    return (*network, *_role(naming, section), _firewall(naming, section), _key(naming, section),
            _instance(naming, section), _address(naming, section))  # fmt: skip


def has_role(section: AwsSection) -> bool:
    """Whether the machine has a role: to be reached by Systems Manager, or to tell of itself."""
    return section.access == "ssm" or section.alarms


def role_tag(section: AwsSection) -> dict[str, str]:
    """Says of an instance that it ever had a role, and whether it was made with an agent."""
    return {"Key": HAD_ROLE, "Value": AGENT if section.access == "ssm" else "telling"}


def _role(naming: Naming, section: AwsSection) -> tuple[Part, ...]:
    if not has_role(section):
        return ()
    if not section.alarms:
        return role_parts(naming, section)
    return (*role_parts(naming, section, policy(naming, section)), logs_part(naming))


def network_parts(naming: Naming, zones: Sequence[int]) -> tuple[Part, ...]:
    """A network of its own, open to the Internet.

    Args:
        naming: Names and tags.
        zones: A subnet in each of these zones, counted from 1; 0: where AWS likes.
    """
    subnets = [_subnet(naming, number) for number in zones]
    return (
        Part(
            id=NETWORK, kind="network", what=f"a network, {_BLOCK}",
            make=_ec2("CreateVpc", CidrBlock=_BLOCK, **naming.marked(NETWORK, "vpc")),
        ),
        Part(
            id=GATEWAY, kind="gateway", what="its way to the Internet",
            make=_ec2("CreateInternetGateway", **naming.marked(GATEWAY, "internet-gateway")),
            settle=(
                _ec2("AttachInternetGateway", _THERE, InternetGatewayId=_of(GATEWAY),
                     VpcId=_of(NETWORK)),
            ),
            needs=(NETWORK,),
        ),
        *subnets,
        Part(
            id=ROUTES, kind="routes", what="routes to the Internet",
            make=_ec2("CreateRouteTable", VpcId=_of(NETWORK),
                      **naming.marked(ROUTES, "route-table")),
            settle=(
                _ec2("CreateRoute", ("RouteAlreadyExists",), RouteTableId=_of(ROUTES),
                     DestinationCidrBlock="0.0.0.0/0", GatewayId=_of(GATEWAY)),
                *(
                    _ec2("AssociateRouteTable", _THERE, RouteTableId=_of(ROUTES),
                         SubnetId=_of(subnet.id))
                    for subnet in subnets
                ),
            ),
            needs=(GATEWAY, *(subnet.id for subnet in subnets)),
        ),
    )  # fmt: skip


def _subnet(naming: Naming, number: int) -> Part:
    """The machine's subnet (0), or the one in a zone (from 1)."""
    name = f"{SUBNET}-{number}" if number else SUBNET
    block = f"10.83.{number}.0/24"
    look: tuple[Call, ...] = ()
    zone: dict[str, Any] = {}
    public: tuple[Call, ...] = ()
    if number:
        filters = [{"Name": "state", "Values": ["available"]},
                   {"Name": "zone-type", "Values": ["availability-zone"]}]  # fmt: skip
        look = (_ec2("DescribeAvailabilityZones", Filters=filters),)
        zone = {"AvailabilityZone": f"${{zone.{number}}}"}
        public = (_ec2("ModifySubnetAttribute", SubnetId=_of(name),
                       MapPublicIpOnLaunch={"Value": True}),)  # fmt: skip
    return Part(
        id=name, kind="subnet", what=f"a subnet, {block}", look=look, settle=public,
        make=_ec2("CreateSubnet", VpcId=_of(NETWORK), CidrBlock=block, **zone,
                  **naming.marked(name, "subnet")),
        needs=(NETWORK,),
    )  # fmt: skip


def rules(section: AwsSection) -> list[dict[str, Any]]:
    """The rules of the firewall: who may reach SSH and the public ports."""
    ports = {section.public_port, *([80] if section.domain else [])}
    login = [(22, section.ssh_from)] if section.open_ssh else []
    allowed = [*login, *((port, section.allow_from) for port in sorted(ports))]
    return [
        {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": network}]}
        for port, networks in allowed
        for network in dict.fromkeys(networks)
    ]


def _firewall(naming: Naming, section: AwsSection) -> Part:
    look: tuple[Call, ...] = ()
    network = _of(NETWORK)
    if section.subnet:
        look, network = (_ec2("DescribeSubnets", SubnetIds=[section.subnet]),), "${subnet.network}"
    return Part(
        id=FIREWALL, kind="firewall",
        what=f"a security group: SSH from {', '.join(section.ssh_from) or 'nowhere'}, port "
        f"{section.public_port} from {', '.join(section.allow_from)}",
        look=look,
        make=_ec2("CreateSecurityGroup", GroupName=naming.name,
                  Description=f"Roadworthy deployment {naming.deployment}", VpcId=network,
                  **naming.marked(FIREWALL, "security-group")),
        settle=tuple(
            _ec2("AuthorizeSecurityGroupIngress", ("InvalidPermission.Duplicate",),
                 GroupId=_of(FIREWALL), IpPermissions=[rule])
            for rule in rules(section)
        ),
        needs=() if section.subnet else (NETWORK,),
    )  # fmt: skip


def _key(naming: Naming, section: AwsSection) -> Part:
    return Part(
        id=KEY, kind="key", what=f"the public key of {section.identity}",
        make=_ec2("ImportKeyPair", KeyName=naming.name,
                  PublicKeyMaterial=public_key(section.identity),
                  **naming.marked(KEY, "key-pair")),
    )  # fmt: skip


def image_look(section: AwsSection) -> Call:
    """The call that finds the image."""
    if section.image:
        return _ec2("DescribeImages", ImageIds=[section.image])
    kind = "arm64" if machine_of(section.instance_type) == "aarch64" else "amd64"
    named = {"Name": "name", "Values": [f"debian-12-{kind}-*"]}
    return _ec2("DescribeImages", Owners=[_DEBIAN], Filters=[named])


def guarded(section: AwsSection) -> dict[str, Any]:
    """Metadata by token only, and an encrypted disk."""
    disk = {"VolumeSize": section.disk_gb, "VolumeType": "gp3", "Encrypted": True,
            "DeleteOnTermination": True}  # fmt: skip
    return {
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled",
                            "HttpPutResponseHopLimit": 1},
        "BlockDeviceMappings": [{"DeviceName": "${image.disk}", "Ebs": disk}],
    }  # fmt: skip


def _instance(naming: Naming, section: AwsSection) -> Part:
    image = section.image or "the newest Debian 12"
    managed: dict[str, Any] = {}
    marked = naming.marked(INSTANCE, "instance", "volume")
    if has_role(section):
        managed = {"IamInstanceProfile": {"Name": f"${{{PROFILE}}}"}}
        marked["TagSpecifications"][0]["Tags"].append(role_tag(section))
    if section.access == "ssm":
        managed["UserData"] = agent_script(section)
    return Part(
        id=INSTANCE, kind="instance",
        what=f"an instance {section.instance_type} of {image}, {section.disk_gb} GB, encrypted",
        look=(image_look(section),),
        make=_ec2(
            "RunInstances", ImageId="${image}", InstanceType=section.instance_type, MinCount=1,
            MaxCount=1, KeyName=naming.name, SubnetId=section.subnet or _of(SUBNET),
            SecurityGroupIds=[_of(FIREWALL)],
            **guarded(section), **managed, **marked,
        ),
        needs=(FIREWALL, KEY, *((PROFILE,) if managed else ()),
               *(() if section.subnet else (ROUTES,))),
        price=price_of("aws", section.region, section.instance_type, section.disk_gb),
    )  # fmt: skip


def _address(naming: Naming, section: AwsSection) -> Part:
    return Part(
        id=ADDRESS, kind="address", what="a fixed public address",
        make=_ec2("AllocateAddress", Domain="vpc", **naming.marked(ADDRESS, "elastic-ip")),
        settle=(
            _ec2("AssociateAddress", AllocationId=_of(ADDRESS), InstanceId=_of(INSTANCE),
                 AllowReassociation=True),
        ),
        needs=(INSTANCE,),
        price=price_of("aws", section.region, "address"),
    )  # fmt: skip


def _of(part: str) -> str:
    return f"${{{part}}}"


def _ec2(operation: str, met: tuple[str, ...] = (), /, **parameters: Any) -> Call:
    return Call(service="ec2", operation=operation, parameters=parameters, met=met)
