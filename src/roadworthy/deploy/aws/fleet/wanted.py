"""What a fleet stands on: network, firewalls, bucket, role, log group, load balancer."""

from __future__ import annotations

import hashlib
from typing import Any

from roadworthy.deploy.aws.call import Call, call
from roadworthy.deploy.aws.part import Naming, Part
from roadworthy.deploy.aws.role import role_parts
from roadworthy.deploy.aws.telling import logs_part, policy
from roadworthy.deploy.aws.wanted import FIREWALL, NETWORK, ROUTES, SUBNET, network_parts
from roadworthy.deploy.cloud.fleet_base import PORT
from roadworthy.deploy.cloud.prices import price_of, stored, together
from roadworthy.project import AwsSection

OUTER, BUCKET = "aws-outer-firewall", "aws-bucket"
BALANCER, LISTENER, REDIRECT = "aws-balancer", "aws-listener", "aws-redirect"
_TLS = "ELBSecurityPolicy-TLS13-1-2-2021-06"


def short(naming: Naming) -> str:
    """A name where names are short, the same for a deployment in a region and no other."""
    return f"rw-{hashlib.sha256(naming.deployment.encode()).hexdigest()[:8]}"


def bucket_of(naming: Naming, region: str, account: str = "${account}") -> str:
    """The bucket of releases; buckets of all accounts share their names."""
    return f"{short(naming)}-{account}-{region}"


def subnets_of(section: AwsSection) -> list[str]:
    """Where a fleet's machines, the balancer and a database are."""
    return list(section.subnets) or [f"${{{SUBNET}-{number}}}" for number in (1, 2)]


def fleet_parts(naming: Naming, section: AwsSection) -> tuple[Part, ...]:
    """Everything but the releases, in order."""
    network = () if section.subnets else network_parts(naming, (1, 2))
    redirect = (_redirect(naming),) if section.certificate else ()
    return (
        *network, _outer(naming, section), _inner(naming, section), _bucket(naming, section),
        *role_parts(naming, section, _role_policy(naming, section)), logs_part(naming),
        _balancer(naming, section), _listener(naming, section), *redirect,
    )  # fmt: skip


def security_group(naming: Naming, section: AwsSection, part: str, name: str, what: str,
           rules: list[dict[str, Any]], needs: tuple[str, ...]) -> Part:  # fmt: skip
    """A security group with its rules.

    Args:
        naming: Names and tags.
        section: `[deploy.NAME]`.
        part: Its part.
        name: Its name.
        what: What it is, in words.
        rules: Who may reach what, one protocol and port each.
        needs: Parts that the rules name.
    """
    look: tuple[Call, ...] = ()
    network = f"${{{NETWORK}}}"
    if section.subnets:
        look = (call("ec2", "DescribeSubnets", SubnetIds=[section.subnets[0]]),)
        network = "${subnet.network}"
    return Part(
        id=part, kind="firewall", what=what, look=look,
        make=call("ec2", "CreateSecurityGroup", GroupName=name,
                   Description=f"Roadworthy deployment {naming.deployment}", VpcId=network,
                   **naming.marked(part, "security-group")),
        settle=tuple(
            call("ec2", "AuthorizeSecurityGroupIngress", ("InvalidPermission.Duplicate",),
                  GroupId=f"${{{part}}}", IpPermissions=[rule])
            for rule in rules
        ),
        needs=(*needs, *(() if section.subnets else (NETWORK,))),
    )  # fmt: skip


def _outer(naming: Naming, section: AwsSection) -> Part:
    ports = {section.public_port, *([80] if section.certificate else [])}
    rules = [
        {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": each}]}
        for port in sorted(ports)
        for each in dict.fromkeys(section.allow_from)
    ]
    what = f"a security group: port {section.public_port} from {', '.join(section.allow_from)}"
    return security_group(naming, section, OUTER, f"{naming.name}-balancer", what, rules, ())


def _inner(naming: Naming, section: AwsSection) -> Part:
    rule = {"IpProtocol": "tcp", "FromPort": PORT, "ToPort": PORT,
            "UserIdGroupPairs": [{"GroupId": f"${{{OUTER}}}"}]}  # fmt: skip
    what = "a security group: the machines answer nobody but the load balancer"
    return security_group(naming, section, FIREWALL, naming.name, what, [rule], (OUTER,))


def _bucket(naming: Naming, section: AwsSection) -> Part:
    name = bucket_of(naming, section.region)
    # where the interface began, a bucket's region must not be said
    region: dict[str, Any] = {}
    if section.region != "us-east-1":
        region = {"CreateBucketConfiguration": {"LocationConstraint": section.region}}
    closed = dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
    )
    sealed = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    return Part(
        id=BUCKET, kind="bucket", what="a bucket for releases, encrypted and closed to the public",
        make=call("s3", "CreateBucket", ("BucketAlreadyOwnedByYou",), Bucket=name, **region),
        price=stored("aws", section.region),
        settle=(
            call("s3", "PutBucketTagging", Bucket=name, Tagging={"TagSet": naming.tags(BUCKET)}),
            call("s3", "PutPublicAccessBlock", Bucket=name,
                  PublicAccessBlockConfiguration=closed),
            call("s3", "PutBucketEncryption", Bucket=name,
                  ServerSideEncryptionConfiguration=sealed),
        ),
    )  # fmt: skip


def _role_policy(naming: Naming, section: AwsSection) -> dict[str, Any]:
    """All that a machine of the fleet may do."""
    bucket = f"arn:${{partition}}:s3:::{bucket_of(naming, section.region)}/releases/*"
    allowed = [("s3:GetObject", bucket)]
    if section.secrets:
        secret = f"secret:roadworthy/{naming.deployment}/*"
        where = f"arn:${{partition}}:secretsmanager:{section.region}:${{account}}:{secret}"
        allowed.append(("secretsmanager:GetSecretValue", where))
    return policy(naming, section, *allowed)


def _balancer(naming: Naming, section: AwsSection) -> Part:
    name, zones = f"{short(naming)}-{naming.deployment[:20]}".rstrip("-"), subnets_of(section)
    return Part(
        id=BALANCER, kind="balancer", what="a load balancer over two zones",
        make=call("elbv2", "CreateLoadBalancer", Name=name, Subnets=zones,
                   SecurityGroups=[f"${{{OUTER}}}"], Scheme="internet-facing", Type="application",
                   Tags=naming.tags(BALANCER)),
        settle=(
            call("elbv2", "ModifyLoadBalancerAttributes", LoadBalancerArn=f"${{{BALANCER}}}",
                  Attributes=[
                      {"Key": "routing.http.drop_invalid_header_fields.enabled", "Value": "true"}
                  ]),
        ),
        needs=(OUTER, *(() if section.subnets else (ROUTES,))),
        # it has a public address in each zone
        price=together(price_of("aws", section.region, "balancer"),
                       price_of("aws", section.region, "address", count=len(zones))),
    )  # fmt: skip


def _listener(naming: Naming, section: AwsSection) -> Part:
    secured: dict[str, Any] = {"Protocol": "HTTP"}
    if section.certificate:
        secured = {"Protocol": "HTTPS", "SslPolicy": _TLS,
                   "Certificates": [{"CertificateArn": section.certificate}]}  # fmt: skip
    nothing = {"StatusCode": "503", "ContentType": "text/plain", "MessageBody": "no release yet"}
    return Part(
        id=LISTENER, kind="listener", what=f"its port {section.public_port}",
        make=call("elbv2", "CreateListener", LoadBalancerArn=f"${{{BALANCER}}}",
                   Port=section.public_port, **secured, Tags=naming.tags(LISTENER),
                   DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": nothing}]),
        needs=(BALANCER,),
    )  # fmt: skip


def _redirect(naming: Naming) -> Part:
    there = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
    return Part(
        id=REDIRECT, kind="listener", what="its port 80, which sends callers to HTTPS",
        make=call("elbv2", "CreateListener", LoadBalancerArn=f"${{{BALANCER}}}", Port=80,
                   Protocol="HTTP", Tags=naming.tags(REDIRECT),
                   DefaultActions=[{"Type": "redirect", "RedirectConfig": there}]),
        needs=(BALANCER,),
    )  # fmt: skip
