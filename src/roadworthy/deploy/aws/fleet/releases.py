"""What a release of a fleet is: an archive, and a launch template, target group and group."""

from __future__ import annotations

import base64
import hashlib
import shlex
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.deploy.aws.call import call
from roadworthy.deploy.aws.fleet.wanted import (
    LISTENER,
    bucket_of,
    short,
    subnets_of,
)
from roadworthy.deploy.aws.part import Naming, Part
from roadworthy.deploy.aws.role import PROFILE, agent_script, machine_of
from roadworthy.deploy.aws.telling import script, script_of, telling_steps
from roadworthy.deploy.aws.wanted import FIREWALL, NETWORK, guarded, image_look
from roadworthy.deploy.cloud.fleet_base import GRACE, PORT, boot_steps
from roadworthy.deploy.cloud.prices import price_of, together
from roadworthy.deploy.cloud_init import archive, user_data
from roadworthy.deploy.host.layout import Layout
from roadworthy.deploy.host.releasing import encrypting
from roadworthy.deploy.host.steps import HostStep
from roadworthy.deploy.wanted import Content, Wanted, in_file
from roadworthy.project import AwsSection, Instances, Project

TRIAL = "aws-trial"
ARCHIVE = "roadworthy-archive"
"""The tag of a launch template that names the archive which its machines fetch."""
FLEET = "roadworthy-fleet"
"""The tag of a fleet's machines and disks."""


class FleetRelease(msgspec.Struct, frozen=True, kw_only=True):
    """A release, and the parts that only it has.

    Attributes:
        id: The release's id and a digest of what its machines are made of.
        archive: What its machines fetch.
        key: Its place in the bucket.
        secret: Name of the secret that its machines read; empty: there is none.
        parts: Launch template, target group, trial rule, group.
    """

    id: str
    archive: Content
    key: str
    secret: str
    parts: tuple[Part, ...]


def make(naming: Naming, section: AwsSection, project: Project, wanted: Wanted, account: str,
         cache: Path, folder: Path) -> FleetRelease:  # fmt: skip
    """Everything that a release of a fleet is.

    Args:
        naming: Names and tags.
        section: `[deploy.NAME]`.
        project: For `[serve]`.
        wanted: What is to be served.
        account: The account's number.
        cache: Where wheels are kept.
        folder: Where the archive is written.

    Raises:
        InputError: The user data would be larger than EC2 takes.
        OutsideError: The wheels cannot be had.
    """
    secret = f"roadworthy/{naming.deployment}/{wanted.release.id}" if section.secrets else ""
    steps = _steps(naming, section, project, wanted, cache, secret)
    content = in_file(archive(steps, folder))
    key = f"releases/{content.sha256}.tar"
    bucket = bucket_of(naming, section.region, account)
    fetch = f'python3 - {section.region} s3 "$1" "$2" <<\'END\'\n{script().decode()}END\n'
    text = user_data(Layout(naming.deployment), content, f"s3://{bucket}/{key}", fetch)
    data = _launch(naming, section, text)
    digest = hashlib.sha256(msgspec.json.encode(data, order="sorted")).hexdigest()[:6]
    name = f"{wanted.release.id}-{digest}"
    parts = (
        _template(naming, section, name, data, content.sha256),
        _targets(naming, section, project, name),
        _trial(naming, wanted, name),
        _group(naming, section, name),
    )
    return FleetRelease(id=name, archive=content, key=key, secret=secret, parts=parts)


def template_of(release: str) -> str:
    """The part that is a release's launch template."""
    return f"aws-template-{release}"


def targets_of(release: str) -> str:
    """The part that is a release's target group."""
    return f"aws-targets-{release}"


def group_of(release: str) -> str:
    """The part that is a release's group of machines."""
    return f"aws-group-{release}"


def release_of(part: str) -> str | None:
    """The release that a part belongs to; None: it belongs to none."""
    kind, _, release = part.removeprefix("aws-").partition("-")
    return release if release and kind in ("template", "targets", "group") else None


def _steps(naming: Naming, section: AwsSection, project: Project, wanted: Wanted, cache: Path,
           secret: str) -> list[HostStep]:  # fmt: skip
    layout = Layout(naming.deployment)
    agent = HostStep(
        id="agent", what="let Systems Manager reach the machine",
        script=f"sh -c {shlex.quote(agent_script(section))}", stamp=layout.stamp("agent"),
    )  # fmt: skip
    steps = boot_steps(
        layout, machine_of(section.instance_type), section, project, wanted, cache,
        telling_steps(layout, naming, section), [agent] if section.access == "ssm" else [],
    )  # fmt: skip
    if not secret:
        return steps
    read = _secret(layout, section, wanted, secret)
    return [read if each.id == "secrets" else each for each in steps]


def _secret(layout: Layout, section: AwsSection, wanted: Wanted, name: str) -> HostStep:
    """In place of sending the secrets: the machine reads them with its role."""
    release = wanted.release.id
    place, plain = layout.secrets(release), f"/run/roadworthy-{layout.name}-secrets"
    return HostStep(
        id="secrets",
        what="read the secrets of the release, and encrypt them for this host alone",
        script=f"python3 {script_of(layout)} {section.region} secret {name} {plain}\n"
        f"{encrypting(plain, place)}",
        stamp=f"{layout.release(release)}/done/secrets",
        present=f"[ -f {place} ]",
        document={"secret": name},
        needs=("mark",),
    )


def _launch(naming: Naming, section: AwsSection, text: bytes) -> dict[str, Any]:
    """What the machines are made of."""
    return {
        "ImageId": "${image}",
        "InstanceType": section.instance_type,
        "IamInstanceProfile": {"Name": f"${{{PROFILE}}}"},
        "SecurityGroupIds": [f"${{{FIREWALL}}}"],
        **guarded(section),
        "UserData": base64.b64encode(text).decode(),
        "TagSpecifications": [{"ResourceType": "volume", "Tags": _machine_tags(naming)}],
    }


def _machine_tags(naming: Naming) -> list[dict[str, str]]:
    """Machines come and go with their group, so they do not carry the mark of a part."""
    return [{"Key": FLEET, "Value": naming.deployment}, {"Key": "Name", "Value": naming.name}]


def _template(naming: Naming, section: AwsSection, release: str, data: dict[str, Any],
              digest: str) -> Part:  # fmt: skip
    part = template_of(release)
    marked = naming.marked(part, "launch-template")
    marked["TagSpecifications"][0]["Tags"].append({"Key": ARCHIVE, "Value": digest})
    return Part(
        id=part, kind="template",
        what=f"a launch template: {section.instance_type}, {section.disk_gb} GB, encrypted",
        look=(image_look(section),),
        make=call("ec2", "CreateLaunchTemplate", LaunchTemplateName=f"{naming.name}-{release}",
                   LaunchTemplateData=data, **marked),
        needs=(FIREWALL, PROFILE),
    )  # fmt: skip


def _targets(naming: Naming, section: AwsSection, project: Project, release: str) -> Part:
    part = targets_of(release)
    name = f"{short(naming)}-{hashlib.sha256(release.encode()).hexdigest()[:12]}"
    look = (
        (call("ec2", "DescribeSubnets", SubnetIds=[section.subnets[0]]),)
        if section.subnets else ()
    )  # fmt: skip
    delay = {"Key": "deregistration_delay.timeout_seconds",
             "Value": str(int(project.serve.drain_seconds))}  # fmt: skip
    return Part(
        id=part, kind="targets", what=f"a target group for {release}", look=look,
        make=call("elbv2", "CreateTargetGroup", Name=name, Protocol="HTTP", Port=PORT,
                   VpcId="${subnet.network}" if section.subnets else f"${{{NETWORK}}}",
                   TargetType="instance", HealthCheckPath="/readyz",
                   HealthCheckIntervalSeconds=10, HealthCheckTimeoutSeconds=5,
                   HealthyThresholdCount=2, UnhealthyThresholdCount=2, Matcher={"HttpCode": "200"},
                   Tags=naming.tags(part)),
        settle=(call("elbv2", "ModifyTargetGroupAttributes", TargetGroupArn=f"${{{part}}}",
                      Attributes=[delay]),),
        needs=() if section.subnets else (NETWORK,),
    )  # fmt: skip


def _trial(naming: Naming, wanted: Wanted, release: str) -> Part:
    manifest = wanted.bundle.manifest
    path = f"/models/{manifest.name}/versions/{manifest.short_version}/*"
    to = f"${{{targets_of(release)}}}"
    return Part(
        id=TRIAL, kind="rule", what="a rule: only who asks for that very version reaches it",
        make=call("elbv2", "CreateRule", ListenerArn=f"${{{LISTENER}}}", Priority=1,
                   Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": [path]}}],
                   Actions=[{"Type": "forward", "TargetGroupArn": to}], Tags=naming.tags(TRIAL)),
        needs=(LISTENER, targets_of(release)),
    )  # fmt: skip


def _group(naming: Naming, section: AwsSection, release: str) -> Part:
    part, size = group_of(release), section.instances or Instances()
    name = f"{naming.name}-{release}"
    policy = {
        "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
        "TargetValue": float(size.cpu),
    }
    machines = price_of("aws", section.region, section.instance_type, section.disk_gb,
                        count=size.min)  # fmt: skip
    addresses = price_of("aws", section.region, "address", count=size.min)
    return Part(
        id=part, kind="group", what=f"{size.min} to {size.max} machines for {release}",
        make=call("autoscaling", "CreateAutoScalingGroup", AutoScalingGroupName=name,
                   LaunchTemplate={"LaunchTemplateId": f"${{{template_of(release)}}}",
                                   "Version": "1"},
                   MinSize=size.min, MaxSize=size.max,
                   VPCZoneIdentifier=",".join(subnets_of(section)),
                   TargetGroupARNs=[f"${{{targets_of(release)}}}"], HealthCheckType="ELB",
                   HealthCheckGracePeriod=GRACE,
                   Tags=_group_tags(naming, part)),
        settle=(call("autoscaling", "PutScalingPolicy", AutoScalingGroupName=name,
                      PolicyName="processors", PolicyType="TargetTrackingScaling",
                      TargetTrackingConfiguration=policy),),
        needs=(template_of(release), targets_of(release), TRIAL),
        price=together(machines, addresses),
    )  # fmt: skip


def _group_tags(naming: Naming, part: str) -> list[dict[str, Any]]:
    own: list[dict[str, Any]] = [
        each | {"PropagateAtLaunch": False} for each in naming.tags(part) if each["Key"] != "Name"
    ]
    return own + [each | {"PropagateAtLaunch": True} for each in _machine_tags(naming)]
