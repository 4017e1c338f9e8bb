"""The kinds of parts in EC2: how each is found by its tags, compared, mended and taken away."""

from __future__ import annotations

from typing import Any

import msgspec

from roadworthy.deploy.aws.account import Account
from roadworthy.deploy.aws.call import Call, tags
from roadworthy.deploy.aws.kind import Find, Kind, Known, There, Thing
from roadworthy.deploy.aws.part import Part
from roadworthy.deploy.aws.wanted import AGENT, HAD_ROLE
from roadworthy.deploy.cloud.filling import fill
from roadworthy.deploy.cloud.provider import DEPLOYMENT


def call(operation: str, met: tuple[str, ...] = (), /, **parameters: Any) -> Call:
    """A call of EC2."""
    return Call(service="ec2", operation=operation, parameters=parameters, met=met)


def _gateway_differs(there: There, part: Part, known: Known) -> str:
    attached = [each.get("VpcId") for each in there.get("Attachments") or ()]
    return "" if known.get("aws-network") in attached else "not attached to the network"


def _remove_gateway(there: There) -> list[Call]:
    name = there["InternetGatewayId"]
    return [
        *(
            call("DetachInternetGateway", ("Gateway.NotAttached", "InvalidVpcID.NotFound"),
                 InternetGatewayId=name, VpcId=each["VpcId"])
            for each in there.get("Attachments") or ()
        ),
        call("DeleteInternetGateway", ("InvalidInternetGatewayID.NotFound",),
             InternetGatewayId=name),
    ]  # fmt: skip


def _routes_differ(there: There, part: Part, known: Known) -> str:
    out = any(
        each.get("DestinationCidrBlock") == "0.0.0.0/0"
        and each.get("GatewayId") == known.get("aws-gateway")
        for each in there.get("Routes") or ()
    )
    subnets = {each.get("SubnetId") for each in there.get("Associations") or ()}
    if not out:
        return "no route to the Internet"
    asked = [each.parameters["SubnetId"][2:-1] for each in part.settle
             if each.operation == "AssociateRouteTable"]  # fmt: skip
    return "" if all(known.get(each) in subnets for each in asked) else "not those of the subnet"


def _mend_routes(there: There, part: Part, known: Known) -> list[Call]:
    return [
        call("DeleteRoute", ("InvalidRoute.NotFound",), RouteTableId=there["RouteTableId"],
             DestinationCidrBlock="0.0.0.0/0")
        for each in there.get("Routes") or ()
        if each.get("DestinationCidrBlock") == "0.0.0.0/0"
        and each.get("GatewayId") != known.get("aws-gateway")
    ]  # fmt: skip


def _remove_routes(there: There) -> list[Call]:
    return [
        *(
            call("DisassociateRouteTable", ("InvalidAssociationID.NotFound",),
                 AssociationId=each["RouteTableAssociationId"])
            for each in there.get("Associations") or ()
        ),
        call("DeleteRouteTable", ("InvalidRouteTableID.NotFound",),
             RouteTableId=there["RouteTableId"]),
    ]  # fmt: skip


def _open(permissions: Any) -> set[tuple[str, int, int, str]]:
    """Rules one by one: protocol, ports, and who."""
    found = set()
    for each in permissions or ():
        who = [one["CidrIp"] for one in each.get("IpRanges") or ()]
        who += [one["CidrIpv6"] for one in each.get("Ipv6Ranges") or ()]
        who += [one["GroupId"] for one in each.get("UserIdGroupPairs") or ()]
        who += [one["PrefixListId"] for one in each.get("PrefixListIds") or ()]
        ports = int(each.get("FromPort", -1)), int(each.get("ToPort", -1))
        found |= {(str(each["IpProtocol"]), *ports, one) for one in who}
    return found


def _wanted_open(part: Part, known: Known) -> set[tuple[str, int, int, str]]:
    others = dict.fromkeys(part.needs, "") | dict(known) | {part.id: known.get(part.id, "")}
    return {
        rule for each in part.settle
        for rule in _open(each.filled(others).parameters.get("IpPermissions"))
    }  # fmt: skip


def _firewall_differs(there: There, part: Part, known: Known) -> str:
    found, wanted = _open(there.get("IpPermissions")), _wanted_open(part, known)
    said = [f"{ports[1]} from {ports[3]} is open too" for ports in sorted(found - wanted)]
    said += [f"{ports[1]} from {ports[3]} is closed" for ports in sorted(wanted - found)]
    return ", ".join(said)


def _mend_firewall(there: There, part: Part, known: Known) -> list[Call]:
    wanted = _wanted_open(part, known)
    foreign = [
        permission for permission in there.get("IpPermissions") or ()
        if not _open([permission]) <= wanted
    ]  # fmt: skip
    # whole rules go; what of them is wanted comes again right after, by `settle`
    given = [{key: value for key, value in each.items() if value != []} for each in foreign]
    if not given:
        return []
    return [call("RevokeSecurityGroupIngress", ("InvalidPermission.NotFound",),
                 GroupId=there["GroupId"], IpPermissions=given)]  # fmt: skip


def _key_differs(there: There, part: Part, known: Known) -> str:
    wanted = part.make.parameters["PublicKeyMaterial"].split()[1]
    return "" if wanted in str(there.get("PublicKey", "")).split() else "another key"


def _instance_differs(there: There, part: Part, known: Known) -> str:
    wanted, said = part.make.parameters, []
    if there["InstanceType"] != wanted["InstanceType"]:
        said.append(there["InstanceType"])
    if there["State"]["Name"] not in ("running", "pending"):
        said.append(there["State"]["Name"])
    if there.get("MetadataOptions", {}).get("HttpTokens") != "required":
        said.append("metadata without tokens")
    said += _role_differs(there, part)
    groups = {each["GroupId"] for each in there.get("SecurityGroups") or ()}
    if groups != {known.get("aws-firewall")}:
        said.append("other security groups")
    return ", ".join(said)


def _role_differs(there: There, part: Part) -> list[str]:
    if "UserData" in part.make.parameters and tags(there).get(HAD_ROLE) != AGENT:
        return ["without the agent of Systems Manager"]
    has = "IamInstanceProfile" in there
    if ("IamInstanceProfile" in part.make.parameters) == has:
        return []
    return ["with a role"] if has else ["without its role"]


def _mend_role(there: There, part: Part, known: Known) -> list[Call]:
    """Its role comes or goes while it runs; that it ever had one stays written."""
    if not _role_differs(there, part):
        return []
    if there.get("association"):
        return [call("DisassociateIamInstanceProfile", ("InvalidAssociationID.NotFound",),
                     AssociationId=there["association"])]  # fmt: skip
    name, marks = there["InstanceId"], part.make.parameters["TagSpecifications"][0]["Tags"]
    given = call(
        "AssociateIamInstanceProfile",
        ("IncorrectState",),
        InstanceId=name,
        IamInstanceProfile=fill(part.make.parameters["IamInstanceProfile"], known),
    )
    if HAD_ROLE in tags(there):
        return [given]
    had = [each for each in marks if each["Key"] == HAD_ROLE]
    return [call("CreateTags", Resources=[name], Tags=had), given]


def _mend_instance(there: There, part: Part, known: Known) -> list[Call]:
    name, wanted = there["InstanceId"], part.make.parameters
    calls, state = [], there["State"]["Name"]
    other = there["InstanceType"] != wanted["InstanceType"]
    if state == "stopping" or (other and state != "stopped"):
        calls.append(call("StopInstances", InstanceIds=[name]))  # and wait for the end of it
    if other:
        calls.append(call("ModifyInstanceAttribute", InstanceId=name,
                          InstanceType={"Value": wanted["InstanceType"]}))  # fmt: skip
    if calls or state == "stopped":
        calls.append(call("StartInstances", InstanceIds=[name]))
    calls.append(call("ModifyInstanceMetadataOptions", InstanceId=name, HttpTokens="required",
                      HttpEndpoint="enabled"))  # fmt: skip
    calls.append(call("ModifyInstanceAttribute", InstanceId=name, Groups=[known["aws-firewall"]]))
    return calls + _mend_role(there, part, known)


def _address_differs(there: There, part: Part, known: Known) -> str:
    return "" if there.get("InstanceId") == known.get("aws-instance") else "not the instance's"


def _remove_address(there: There) -> list[Call]:
    calls = []
    if there.get("AssociationId"):
        calls.append(call("DisassociateAddress", ("InvalidAssociationID.NotFound",),
                          AssociationId=there["AssociationId"]))  # fmt: skip
    gone = ("InvalidAllocationID.NotFound",)
    return [*calls, call("ReleaseAddress", gone, AllocationId=there["AllocationId"])]


def _listed(operation: str, key: str, name: str, *states: str) -> Find:
    """How things of EC2 are found: by the deployment's tag."""
    filters: list[dict[str, Any]] = []
    if states:
        filters.append({"Name": "instance-state-name", "Values": list(states)})

    def find(account: Account, deployment: str) -> list[Thing]:
        tag = {"Name": f"tag:{DEPLOYMENT}", "Values": [deployment]}
        more: dict[str, Any] = {"IncludePublicKey": True} if operation == "DescribeKeyPairs" else {}
        found = account.call(call(operation, Filters=[tag, *filters], **more)).get(key) or []
        if key == "Reservations":
            found = [each for reservation in found for each in reservation["Instances"]]
        return [Thing(id=str(each[name]), there=each, tags=tags(each)) for each in found]

    return find


def _find_instances(account: Account, deployment: str) -> list[Thing]:
    """The machine, and how it got its role."""
    listed = _listed("DescribeInstances", "Reservations", "InstanceId",
                     "pending", "running", "stopping", "stopped")  # fmt: skip
    return [_with_association(account, each) for each in listed(account, deployment)]


def _with_association(account: Account, thing: Thing) -> Thing:
    if "IamInstanceProfile" not in thing.there:
        return thing
    asked = call("DescribeIamInstanceProfileAssociations",
                 Filters=[{"Name": "instance-id", "Values": [thing.id]},
                          {"Name": "state", "Values": ["associating", "associated"]}])  # fmt: skip
    found = account.call(asked).get("IamInstanceProfileAssociations") or [{}]
    there = {**thing.there, "association": found[0].get("AssociationId", "")}
    return msgspec.structs.replace(thing, there=there)


def _remove(operation: str, name: str, gone: str) -> Any:
    return lambda there: [call(operation, (gone,), **{name: there[name]})]


def _terminate(there: There) -> list[Call]:
    return [call("TerminateInstances", ("InvalidInstanceID.NotFound",),
                 InstanceIds=[there["InstanceId"]])]  # fmt: skip


EC2 = {
    "address": Kind(
        _listed("DescribeAddresses", "Addresses", "AllocationId"),
        _remove_address, _address_differs,
    ),
    "instance": Kind(
        _find_instances, _terminate, _instance_differs, _mend_instance,
    ),
    "key": Kind(
        _listed("DescribeKeyPairs", "KeyPairs", "KeyPairId"),
        _remove("DeleteKeyPair", "KeyName", "InvalidKeyPair.NotFound"), _key_differs,
    ),
    "firewall": Kind(
        _listed("DescribeSecurityGroups", "SecurityGroups", "GroupId"),
        _remove("DeleteSecurityGroup", "GroupId", "InvalidGroup.NotFound"),
        _firewall_differs, _mend_firewall,
    ),
    "routes": Kind(
        _listed("DescribeRouteTables", "RouteTables", "RouteTableId"),
        _remove_routes, _routes_differ, _mend_routes,
    ),
    "subnet": Kind(
        _listed("DescribeSubnets", "Subnets", "SubnetId"),
        _remove("DeleteSubnet", "SubnetId", "InvalidSubnetID.NotFound"),
    ),
    "gateway": Kind(
        _listed("DescribeInternetGateways", "InternetGateways", "InternetGatewayId"),
        _remove_gateway, _gateway_differs,
    ),
    "network": Kind(
        _listed("DescribeVpcs", "Vpcs", "VpcId"),
        _remove("DeleteVpc", "VpcId", "InvalidVpcID.NotFound"),
    ),
}  # fmt: skip
"""Kind -> how it is looked after, in the order in which they are taken away."""
