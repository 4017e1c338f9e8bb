"""What a machine may do in AWS: its role, and the agent by which Systems Manager reaches it."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from roadworthy.deploy.aws.call import Call, call
from roadworthy.deploy.aws.part import Naming, Part
from roadworthy.project import AwsSection

ROLE, PROFILE, POLICY = "aws-role", "aws-profile", "roadworthy"
_MANAGED = "arn:${partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
_AGENT = """\
#!/bin/sh
# Roadworthy: the agent of Systems Manager, from Amazon's own bucket, unless the image has it
set -eu
command -v amazon-ssm-agent >/dev/null && exit 0
[ -e /snap/amazon-ssm-agent ] && exit 0
python3 - <<'END'
import shutil, urllib.request
place = "https://{host}/latest/debian_{machine}/amazon-ssm-agent.deb"
with urllib.request.urlopen(place, timeout=60) as source, open("/root/agent.deb", "wb") as sink:
    shutil.copyfileobj(source, sink)
END
dpkg -i /root/agent.deb
rm /root/agent.deb
systemctl enable --now amazon-ssm-agent
"""


def machine_of(instance_type: str) -> str:
    """`aarch64` for types of Graviton processors, else `x86_64`, by EC2's way of naming types."""
    graviton = re.match(r"(a1|[a-z]+-?[a-z]*\d+[a-z]*g[a-z]*)(\.|-)", instance_type)
    return "aarch64" if graviton and not re.match(r"g\d+[a-fh-z]*\.", instance_type) else "x86_64"


def agent_script(section: AwsSection) -> str:
    """User data that install the agent of Systems Manager.

    Source: https://docs.aws.amazon.com/systems-manager/latest/userguide/agent-install-deb.html
    """
    region = section.region
    suffix = ".cn" if region.startswith("cn-") else ""
    machine = "arm64" if machine_of(section.instance_type) == "aarch64" else "amd64"
    host = f"amazon-ssm-{region}.s3.{region}.amazonaws.com{suffix}"
    return _AGENT.format(host=host, machine=machine)


def role_parts(
    naming: Naming, section: AwsSection, policy: dict[str, Any] | None = None
) -> tuple[Part, ...]:
    """The role, and the profile by which machines get it.

    Args:
        naming: Names and tags.
        section: `[deploy.NAME]`.
        policy: What it allows, besides the agent's work.
    """
    name = f"{naming.name}-{section.region}"  # roles are of an account, not of a region
    trusted = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"},
             "Action": "sts:AssumeRole"},
        ],
    }  # fmt: skip
    settle: list[Call] = []
    if policy is not None:
        settle.append(call("iam", "PutRolePolicy", RoleName=name, PolicyName=POLICY,
                           PolicyDocument=_json(policy)))  # fmt: skip
    if section.access == "ssm":
        settle.append(call("iam", "AttachRolePolicy", RoleName=name, PolicyArn=_MANAGED))
    role = Part(
        id=ROLE, kind="role", what="a role: what the machines need, no more", settle=tuple(settle),
        make=call("iam", "CreateRole", RoleName=name, Tags=naming.tags(ROLE),
                  AssumeRolePolicyDocument=_json(trusted)),
    )  # fmt: skip
    profile = Part(
        id=PROFILE, kind="profile", what="the way by which machines get the role",
        make=call("iam", "CreateInstanceProfile", InstanceProfileName=name,
                  Tags=naming.tags(PROFILE)),
        # a profile holds one role: another one is over its limit
        settle=(call("iam", "AddRoleToInstanceProfile", ("LimitExceeded",),
                     InstanceProfileName=name, RoleName=name),),
        needs=(ROLE,),
    )  # fmt: skip
    return role, profile


def _json(document: dict[str, Any]) -> str:
    return msgspec.json.encode(document).decode()
