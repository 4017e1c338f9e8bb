"""What a pipeline may do in AWS: bring releases to what a person has made, and nothing else.

It sees whether the infrastructure is as wanted. It cannot make, change or remove it, nor its own
role: where the section asks for that, a person runs `deploy apply`.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from roadworthy.deploy.aws.fleet.wanted import bucket_of, short
from roadworthy.deploy.aws.part import Naming
from roadworthy.deploy.aws.registry import store_of
from roadworthy.deploy.aws.telling import log_group_of
from roadworthy.deploy.cloud.provider import DEPLOYMENT
from roadworthy.project import AwsSection

_FLEET = "roadworthy-fleet"
_SEES = (
    "cloudwatch:DescribeAlarms", "cloudwatch:GetDashboard", "ec2:DescribeAddresses",
    "ec2:DescribeImages", "ec2:DescribeInstances", "ec2:DescribeInternetGateways",
    "ec2:DescribeKeyPairs",
    "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
)  # fmt: skip
_SEES_OF_A_MACHINE = ("ec2:DescribeIamInstanceProfileAssociations", "logs:DescribeLogGroups")
_SEES_OF_A_FLEET = (
    "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeScalingActivities",
    "ec2:DescribeLaunchTemplates", "elasticloadbalancing:DescribeListeners",
    "elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeRules",
    "elasticloadbalancing:DescribeTags", "elasticloadbalancing:DescribeTargetGroups",
    "elasticloadbalancing:DescribeTargetHealth", "logs:DescribeLogGroups",
    "secretsmanager:ListSecrets",
)  # fmt: skip


def ci_policy(naming: Naming, section: AwsSection, role: str, provider: str) -> dict[str, Any]:
    """The policy.

    Args:
        naming: Names and tags.
        section: `[deploy.NAME]`.
        role: The pipeline's own role, which it may look at.
        provider: ARN of the provider that it came by.
    """
    there = _Place(naming, section)
    sees = (*_SEES, *(_SEES_OF_A_FLEET if section.fleet else _SEES_OF_A_MACHINE))
    statements = [
        # what cannot be narrowed to things is narrowed to the region
        _allow(sees, "*", {"StringEquals": {"aws:RequestedRegion": section.region}}),
        _allow(("cloudwatch:ListTagsForResource",),
               there.arn("cloudwatch", f"alarm:{naming.name}/*")),
        _allow(("cloudwatch:GetDashboard",),
               f"arn:${{partition}}:cloudwatch::${{account}}:dashboard/{naming.name}"),
        _allow(("sns:ListSubscriptionsByTopic", "sns:ListTagsForResource"),
               there.arn("sns", naming.name)),
        _allow(("ssm:AddTagsToResource", "ssm:DeleteParameter", "ssm:GetParameter",
                "ssm:PutParameter"),
               there.arn("ssm", f"parameter/roadworthy/{naming.deployment}/lock")),
        _allow(("iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies"),
               [there.iam(f"role/{role}"), there.iam(f"role/{there.machines}")]),
        _allow(("iam:GetInstanceProfile",), there.iam(f"instance-profile/{there.machines}")),
        _allow(("iam:GetOpenIDConnectProvider",), provider),
        _allow(("ec2:GetConsoleOutput",), there.arn("ec2", "instance/*"), there.machine_tag),
    ]  # fmt: skip
    if section.fleet:
        statements += _fleet(there)
    else:
        statements.append(_allow(("logs:ListTagsForResource",), there.log_groups))
        statements += _sessions(there) if section.access == "ssm" else []
    if section.fleet or section.database:
        statements += _registry(there)
    return {"Version": "2012-10-17", "Statement": statements}


class _Place:
    """Names of what one deployment has."""

    def __init__(self, naming: Naming, section: AwsSection) -> None:
        self.naming = naming
        self.section = section
        self.machines = f"{naming.name}-{section.region}"

    def arn(self, service: str, rest: str) -> str:
        return f"arn:${{partition}}:{service}:{self.section.region}:${{account}}:{rest}"

    def iam(self, rest: str) -> str:
        return f"arn:${{partition}}:iam::${{account}}:{rest}"

    @property
    def log_groups(self) -> list[str]:
        name = f"log-group:{log_group_of(self.naming)}"
        return [self.arn("logs", name), self.arn("logs", f"{name}:*")]

    @property
    def machine_tag(self) -> dict[str, Any]:
        """Machines of a fleet come and go, and carry a tag of their own."""
        return _tagged("aws:ResourceTag", self.naming, _FLEET if self.section.fleet else DEPLOYMENT)


def _tagged(word: str, naming: Naming, tag: str = DEPLOYMENT) -> dict[str, Any]:
    return {"StringEquals": {f"{word}/{tag}": naming.deployment}}


def _sessions(there: _Place) -> list[dict[str, Any]]:
    """SSH by way of Systems Manager, to the one machine and by the one document."""
    document = f"arn:${{partition}}:ssm:{there.section.region}::document/AWS-StartSSHSession"
    only = {"BoolIfExists": {"ssm:SessionDocumentAccessCheck": "true"}}
    return [
        _allow(("ssm:StartSession",), there.arn("ec2", "instance/*"), there.machine_tag | only),
        _allow(("ssm:StartSession",), document),
        # the name is that of who opened the session
        _allow(("ssm:ResumeSession", "ssm:TerminateSession"),
               there.arn("ssm", "session/${aws:userid}-*")),
    ]  # fmt: skip


def _fleet(there: _Place) -> list[dict[str, Any]]:
    """Releases: archives, secrets, templates, groups of machines, and where callers go."""
    naming, section = there.naming, there.section
    name, brief, elb = naming.name, short(naming), "elasticloadbalancing"
    bucket = f"arn:${{partition}}:s3:::{bucket_of(naming, section.region)}"
    groups = "autoScalingGroup:*:autoScalingGroupName"
    template = there.arn("ec2", "launch-template/*")
    found = [
        _allow(("s3:GetBucketPublicAccessBlock", "s3:GetBucketTagging", "s3:ListBucket"), bucket),
        _allow(("s3:DeleteObject", "s3:PutObject"), f"{bucket}/releases/*"),
        _allow(("logs:FilterLogEvents", "logs:GetLogEvents", "logs:ListTagsForResource"),
               there.log_groups),
        _allow(("ec2:CreateLaunchTemplate",), template, _tagged("aws:RequestTag", naming)),
        _allow(("ec2:CreateTags",), template,
               {"StringEquals": {"ec2:CreateAction": "CreateLaunchTemplate"}}),
        _allow(("ec2:DeleteLaunchTemplate",), template, _tagged("aws:ResourceTag", naming)),
        # groups start machines for who made them, and by templates alone
        _allow(("ec2:RunInstances",), "*", {"ArnLike": {"ec2:LaunchTemplate": template}}),
        _allow(("ec2:CreateTags",), [there.arn("ec2", f"{each}/*") for each in
                                     ("instance", "volume")],
               {"StringEquals": {"ec2:CreateAction": "RunInstances"}}),
        _allow(("iam:PassRole",), there.iam(f"role/{there.machines}"),
               {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}),
        _allow(("autoscaling:AttachLoadBalancerTargetGroups", "autoscaling:CreateAutoScalingGroup",
                "autoscaling:CreateOrUpdateTags", "autoscaling:DeleteAutoScalingGroup",
                "autoscaling:PutScalingPolicy", "autoscaling:UpdateAutoScalingGroup"),
               there.arn("autoscaling", f"{groups}/{name}-*")),
        _allow((f"{elb}:AddTags", f"{elb}:CreateTargetGroup", f"{elb}:DeleteTargetGroup",
                f"{elb}:ModifyTargetGroup", f"{elb}:ModifyTargetGroupAttributes"),
               there.arn(elb, f"targetgroup/{brief}-*/*")),
        _allow((f"{elb}:AddTags", f"{elb}:CreateRule", f"{elb}:DeleteRule", f"{elb}:ModifyListener",
                f"{elb}:ModifyRule"),
               [there.arn(elb, f"{each}/app/{brief}-*") for each in ("listener", "listener-rule")]),
    ]  # fmt: skip
    if section.secrets:
        secrets = there.arn("secretsmanager", f"secret:roadworthy/{naming.deployment}/*")
        found.append(_allow(("secretsmanager:CreateSecret", "secretsmanager:DeleteSecret",
                             "secretsmanager:TagResource"), secrets))  # fmt: skip
    if section.certificate:
        found.append(_allow(("acm:DescribeCertificate",), section.certificate))
    return found


def _registry(there: _Place) -> list[dict[str, Any]]:
    """It sees whether database and bucket are as wanted."""
    databases = [there.arn("rds", f"{each}:{there.naming.name}") for each in ("db", "subgrp")]
    store = f"arn:${{partition}}:s3:::{store_of(there.naming, there.section.region)}"
    return [
        _allow(("rds:DescribeDBInstances", "rds:DescribeDBSubnetGroups",
                "rds:ListTagsForResource"), databases),
        _allow(("s3:GetBucketPublicAccessBlock", "s3:GetBucketTagging", "s3:ListBucket"), store),
    ]  # fmt: skip


def _allow(actions: Sequence[str], resource: str | list[str],
           condition: Mapping[str, Any] | None = None) -> dict[str, Any]:  # fmt: skip
    given = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    return given | ({"Condition": dict(condition)} if condition else {})
