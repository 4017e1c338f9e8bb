"""The kinds of parts of a fleet: how each is found, compared, mended and taken away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from roadworthy.deploy.aws.account import Account
from roadworthy.deploy.aws.call import Call, call, tags
from roadworthy.deploy.aws.fleet.standing import STANDING
from roadworthy.deploy.aws.fleet.wanted import short
from roadworthy.deploy.aws.kind import Kind, Known, There, Thing
from roadworthy.deploy.aws.part import Naming, Part
from roadworthy.deploy.cloud.provider import DEPLOYMENT

_BATCH = 20


def _find_groups(account: Account, deployment: str) -> list[Thing]:
    asked = call("autoscaling", "DescribeAutoScalingGroups",
                 Filters=[{"Name": f"tag:{DEPLOYMENT}", "Values": [deployment]}])  # fmt: skip
    found = account.call(asked).get("AutoScalingGroups") or []
    return [Thing(id=each["AutoScalingGroupName"], there=each, tags=tags(each)) for each in found]


def _group_differs(there: There, part: Part, known: Known) -> str:
    wanted = _filled(part, known)
    said = []
    if (there["MinSize"], there["MaxSize"]) != (wanted["MinSize"], wanted["MaxSize"]):
        said.append(f"{there['MinSize']} to {there['MaxSize']} machines")
    given = there.get("LaunchTemplate", {}).get("LaunchTemplateId")
    if given != wanted["LaunchTemplate"]["LaunchTemplateId"]:
        said.append("another launch template")
    if set(there.get("TargetGroupARNs") or ()) != set(wanted["TargetGroupARNs"]):
        said.append("other target groups")
    # AWS gives the subnets back in an order of its own
    zones = set(str(there.get("VPCZoneIdentifier", "")).split(","))
    if zones != set(wanted["VPCZoneIdentifier"].split(",")):
        said.append("other subnets")
    return ", ".join(said)


def _mend_group(there: There, part: Part, known: Known) -> list[Call]:
    wanted = _filled(part, known)
    keys = ("AutoScalingGroupName", "MinSize", "MaxSize", "LaunchTemplate", "VPCZoneIdentifier")
    named = {"AutoScalingGroupName": wanted["AutoScalingGroupName"]}
    lacking = set(wanted["TargetGroupARNs"]) - set(there.get("TargetGroupARNs") or ())
    return [
        call("autoscaling", "UpdateAutoScalingGroup", **{key: wanted[key] for key in keys}),
        *([call("autoscaling", "AttachLoadBalancerTargetGroups", **named,
                TargetGroupARNs=sorted(lacking))] if lacking else []),
    ]  # fmt: skip


def _filled(part: Part, known: Known) -> dict[str, Any]:
    """What is wanted; what it names may not be there any more."""
    return part.make.filled(dict.fromkeys(part.needs, "") | dict(known)).parameters


def _remove_group(there: There) -> list[Call]:
    return [call("autoscaling", "DeleteAutoScalingGroup", ("ValidationError",), ForceDelete=True,
                 AutoScalingGroupName=there["AutoScalingGroupName"])]  # fmt: skip


def _group_gone(account: Account, name: str) -> None:
    asked = call("autoscaling", "DescribeAutoScalingGroups", AutoScalingGroupNames=[name])
    account.until(
        f"the machines of {name} do not end",
        lambda: not account.call(asked).get("AutoScalingGroups"),
    )


def _balancer(account: Account, deployment: str) -> list[dict[str, Any]]:
    """The deployment's balancers, by the names that only they have."""
    mine = short(Naming(deployment, ""))
    answer = account.call(call("elbv2", "DescribeLoadBalancers"))
    found = answer.get("LoadBalancers") or []
    return [each for each in found if str(each["LoadBalancerName"]).startswith(f"{mine}-")]


def _marked(account: Account, deployment: str, things: Iterable[tuple[str, dict[str, Any]]],
            more: Any = lambda there: {}) -> list[Thing]:  # fmt: skip
    """Of things with ARNs, those that carry the deployment's tag."""
    given = dict(things)
    marks: dict[str, dict[str, str]] = {}
    names = sorted(given)
    for start in range(0, len(names), _BATCH):
        asked = call("elbv2", "DescribeTags", ResourceArns=names[start : start + _BATCH])
        for each in account.call(asked)["TagDescriptions"]:
            marks[each["ResourceArn"]] = tags(each)
    return [
        Thing(id=name, there=there, tags=marks[name], more=more(there))
        for name, there in given.items()
        if marks.get(name, {}).get(DEPLOYMENT) == deployment
    ]


def _find_balancers(account: Account, deployment: str) -> list[Thing]:
    found = _balancer(account, deployment)
    named = ((each["LoadBalancerArn"], each) for each in found)

    def more(there: dict[str, Any]) -> dict[str, str]:
        suffix = there["LoadBalancerArn"].partition(":loadbalancer/")[2]
        return {"suffix": suffix, "address": str(there.get("DNSName", ""))}

    return _marked(account, deployment, named, more)


def _balancer_differs(there: There, part: Part, known: Known) -> str:
    wanted = _filled(part, known)
    zones = {each["SubnetId"] for each in there.get("AvailabilityZones") or ()}
    said = [] if zones == set(wanted["Subnets"]) else ["other subnets"]
    if set(there.get("SecurityGroups") or ()) != set(wanted["SecurityGroups"]):
        said.append("other security groups")
    return ", ".join(said)


def _mend_balancer(there: There, part: Part, known: Known) -> list[Call]:
    wanted, name = _filled(part, known), there["LoadBalancerArn"]
    return [
        call("elbv2", "SetSubnets", LoadBalancerArn=name, Subnets=wanted["Subnets"]),
        call("elbv2", "SetSecurityGroups", LoadBalancerArn=name,
             SecurityGroups=wanted["SecurityGroups"]),
    ]  # fmt: skip


def _remove_balancer(there: There) -> list[Call]:
    gone = ("LoadBalancerNotFound",)
    return [call("elbv2", "DeleteLoadBalancer", gone, LoadBalancerArn=there["LoadBalancerArn"])]


def _listeners(account: Account, deployment: str) -> list[dict[str, Any]]:
    return [
        each
        for balancer in _balancer(account, deployment)
        for each in account.call(
            call("elbv2", "DescribeListeners", LoadBalancerArn=balancer["LoadBalancerArn"])
        ).get("Listeners")
        or []
    ]


def _find_listeners(account: Account, deployment: str) -> list[Thing]:
    found = _listeners(account, deployment)
    return _marked(account, deployment, ((each["ListenerArn"], each) for each in found))


def _listener_differs(there: There, part: Part, known: Known) -> str:
    wanted = part.make.parameters
    said = []
    if there.get("Port") != wanted["Port"] or there.get("Protocol") != wanted["Protocol"]:
        said.append(f"{there.get('Protocol')} on port {there.get('Port')}")
    given = {each["CertificateArn"] for each in there.get("Certificates") or ()}
    if given != {each["CertificateArn"] for each in wanted.get("Certificates") or ()}:
        said.append("another certificate")
    return ", ".join(said)


def _mend_listener(there: There, part: Part, known: Known) -> list[Call]:
    """Where callers go is not touched: that is the swap's."""
    keys = ("Port", "Protocol", "Certificates", "SslPolicy")
    given = {key: part.make.parameters[key] for key in keys if key in part.make.parameters}
    return [call("elbv2", "ModifyListener", ListenerArn=there["ListenerArn"], **given)]


def _remove_listener(there: There) -> list[Call]:
    return [call("elbv2", "DeleteListener", ("ListenerNotFound",),
                 ListenerArn=there["ListenerArn"])]  # fmt: skip


def _find_rules(account: Account, deployment: str) -> list[Thing]:
    found = [
        each
        for listener in _listeners(account, deployment)
        for each in account.call(
            call("elbv2", "DescribeRules", ListenerArn=listener["ListenerArn"])
        ).get("Rules")
        or []
        if not each.get("IsDefault")
    ]
    return _marked(account, deployment, ((each["RuleArn"], each) for each in found))


def _rule_differs(there: There, part: Part, known: Known) -> str:
    wanted = _filled(part, known)
    (condition,) = wanted["Conditions"]
    paths = [each.get("PathPatternConfig", {}).get("Values") for each in there["Conditions"]]
    to = [each.get("TargetGroupArn") for each in there["Actions"]]
    same = paths == [condition["PathPatternConfig"]["Values"]]
    same = same and to == [each["TargetGroupArn"] for each in wanted["Actions"]]
    return "" if same else "for another release"


def _mend_rule(there: There, part: Part, known: Known) -> list[Call]:
    wanted = _filled(part, known)
    return [call("elbv2", "ModifyRule", RuleArn=there["RuleArn"],
                 Conditions=wanted["Conditions"], Actions=wanted["Actions"])]  # fmt: skip


def _remove_rule(there: There) -> list[Call]:
    return [call("elbv2", "DeleteRule", ("RuleNotFound",), RuleArn=there["RuleArn"])]


def _find_targets(account: Account, deployment: str) -> list[Thing]:
    mine = short(Naming(deployment, ""))
    answer = account.call(call("elbv2", "DescribeTargetGroups"))
    found = [each for each in answer.get("TargetGroups") or []
             if str(each["TargetGroupName"]).startswith(f"{mine}-")]  # fmt: skip
    return _marked(account, deployment, ((each["TargetGroupArn"], each) for each in found))


def _targets_differ(there: There, part: Part, known: Known) -> str:
    same = there.get("HealthCheckPath") == part.make.parameters["HealthCheckPath"]
    return "" if same else "another health check"


def _mend_targets(there: There, part: Part, known: Known) -> list[Call]:
    return [call("elbv2", "ModifyTargetGroup", TargetGroupArn=there["TargetGroupArn"],
                 HealthCheckPath=part.make.parameters["HealthCheckPath"])]  # fmt: skip


def _remove_targets(there: There) -> list[Call]:
    return [call("elbv2", "DeleteTargetGroup", ("TargetGroupNotFound",),
                 TargetGroupArn=there["TargetGroupArn"])]  # fmt: skip


def _find_templates(account: Account, deployment: str) -> list[Thing]:
    asked = call("ec2", "DescribeLaunchTemplates",
                 Filters=[{"Name": f"tag:{DEPLOYMENT}", "Values": [deployment]}])  # fmt: skip
    found = account.call(asked).get("LaunchTemplates") or []
    return [Thing(id=each["LaunchTemplateId"], there=each, tags=tags(each)) for each in found]


def _remove_template(there: There) -> list[Call]:
    return [call("ec2", "DeleteLaunchTemplate", ("InvalidLaunchTemplateId.NotFound",),
                 LaunchTemplateId=there["LaunchTemplateId"])]  # fmt: skip


def _available(account: Account, name: str) -> None:
    account.wait("elbv2", "load_balancer_available", LoadBalancerArns=[name])


def _deleted(account: Account, name: str) -> None:
    account.wait("elbv2", "load_balancers_deleted", LoadBalancerArns=[name])


FLEET = {
    "rule": Kind(_find_rules, _remove_rule, _rule_differs, _mend_rule),
    "group": Kind(_find_groups, _remove_group, _group_differs, _mend_group, gone=_group_gone),
    "listener": Kind(_find_listeners, _remove_listener, _listener_differs, _mend_listener),
    "balancer": Kind(_find_balancers, _remove_balancer, _balancer_differs, _mend_balancer,
                     _available, _deleted),
    "targets": Kind(_find_targets, _remove_targets, _targets_differ, _mend_targets),
    "template": Kind(_find_templates, _remove_template),
    **STANDING,
}  # fmt: skip
"""Kind -> how it is looked after, in the order in which they are taken away."""
