"""A registry beside a deployment: a PostgreSQL database and a bucket, for `[registry]`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roadworthy.deploy.aws.account import Account
from roadworthy.deploy.aws.call import Call, call, tags
from roadworthy.deploy.aws.fleet.standing import find_bucket
from roadworthy.deploy.aws.fleet.wanted import security_group, short, subnets_of
from roadworthy.deploy.aws.kind import Kind, Known, There, Thing
from roadworthy.deploy.aws.part import Naming, Part
from roadworthy.deploy.aws.wanted import ROUTES
from roadworthy.deploy.cloud.prices import price_of, stored, together
from roadworthy.deploy.cloud.provider import DEPLOYMENT, SECLUDED
from roadworthy.project import AwsSection

DATABASE, STORE, SUBNETS = "aws-database", "aws-store", "aws-database-subnets"
FIREWALL = "aws-database-firewall"
_PORT = 5432
_NAME = "roadworthy"
_DAYS = 7
_GIGABYTES = 20
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
"""Networks of which no packet comes over the internet (RFC 1918): the database's own, and those
that are joined to it."""


def store_of(naming: Naming, region: str, account: str = "${account}") -> str:
    """The bucket of the registry's blobs."""
    return f"{short(naming)}-models-{account}-{region}"


def registry_parts(naming: Naming, section: AwsSection) -> tuple[Part, ...]:
    """Database and bucket; nothing where none are asked for."""
    if section.database is None:
        return ()
    public = section.database_access == "public"
    networks = tuple(dict.fromkeys(section.database_from)) if public else _PRIVATE
    rules = [
        {"IpProtocol": "tcp", "FromPort": _PORT, "ToPort": _PORT, "IpRanges": [{"CidrIp": each}]}
        for each in networks
    ]
    what = f"a security group: PostgreSQL from {', '.join(networks)}"
    group = security_group(
        naming, section, FIREWALL, f"{naming.name}-database", what, rules, ()
    )  # fmt: skip
    return group, _subnets(naming, section), _database(naming, section), _store(naming, section)


def _subnets(naming: Naming, section: AwsSection) -> Part:
    return Part(
        id=SUBNETS, kind="database subnets", what="where the database is: two zones",
        make=call("rds", "CreateDBSubnetGroup", DBSubnetGroupName=naming.name,
                  DBSubnetGroupDescription=f"Roadworthy deployment {naming.deployment}",
                  SubnetIds=subnets_of(section), Tags=naming.tags(SUBNETS)),
        needs=() if section.subnets else (ROUTES,),
    )  # fmt: skip


def _database(naming: Naming, section: AwsSection) -> Part:
    public = section.database_access == "public"
    where = "" if public else f", reached from {SECLUDED}"
    return Part(
        id=DATABASE, kind="database",
        what=f"a database of PostgreSQL, {section.database}, encrypted, {_DAYS} days of backups"
        f"{where}",
        make=call(
            "rds", "CreateDBInstance", DBInstanceIdentifier=naming.name, Engine="postgres",
            DBInstanceClass=section.database, AllocatedStorage=_GIGABYTES, StorageType="gp3",
            StorageEncrypted=True, DBName=_NAME, MasterUsername=_NAME,
            ManageMasterUserPassword=True, DBSubnetGroupName=f"${{{SUBNETS}}}",
            VpcSecurityGroupIds=[f"${{{FIREWALL}}}"], BackupRetentionPeriod=_DAYS,
            PubliclyAccessible=public, AutoMinorVersionUpgrade=True,
            Tags=naming.tags(DATABASE),
        ),
        needs=(FIREWALL, SUBNETS),
        price=together(
            price_of("aws", section.region, f"database {section.database}", _GIGABYTES,
                     of="database"),
            *((price_of("aws", section.region, "address"),) if public else ()),
        ),
    )  # fmt: skip


def _store(naming: Naming, section: AwsSection) -> Part:
    name = store_of(naming, section.region)
    region: dict[str, Any] = {}
    if section.region != "us-east-1":
        region = {"CreateBucketConfiguration": {"LocationConstraint": section.region}}
    closed = dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
    )
    return Part(
        id=STORE, kind="store", what="a bucket for the registry's models",
        make=call("s3", "CreateBucket", ("BucketAlreadyOwnedByYou",), Bucket=name, **region),
        price=stored("aws", section.region),
        settle=(
            call("s3", "PutBucketTagging", Bucket=name, Tagging={"TagSet": naming.tags(STORE)}),
            call("s3", "PutPublicAccessBlock", Bucket=name, PublicAccessBlockConfiguration=closed),
        ),
    )  # fmt: skip


def _find_databases(account: Account, deployment: str) -> list[Thing]:
    name = Naming(deployment, "").name
    asked = call("rds", "DescribeDBInstances", ("DBInstanceNotFound",), DBInstanceIdentifier=name)
    return [
        Thing(id=name, there=each, tags=tags(each, "TagList"))
        for each in account.call(asked).get("DBInstances") or []
        if tags(each, "TagList").get(DEPLOYMENT) == deployment
    ]


def _database_differs(there: There, part: Part, known: Known) -> str:
    wanted, said = part.make.parameters, []
    if there["DBInstanceClass"] != wanted["DBInstanceClass"]:
        said.append(there["DBInstanceClass"])
    if there["PubliclyAccessible"] != wanted["PubliclyAccessible"]:
        said.append(f"{'a' if there['PubliclyAccessible'] else 'no'} public address")
    groups = {each["VpcSecurityGroupId"] for each in there.get("VpcSecurityGroups") or ()}
    if groups != {known.get(FIREWALL)}:
        said.append("other security groups")
    return ", ".join(said)


def _mend_database(there: There, part: Part, known: Known) -> list[Call]:
    return [
        call("rds", "ModifyDBInstance", DBInstanceIdentifier=there["DBInstanceIdentifier"],
             DBInstanceClass=part.make.parameters["DBInstanceClass"],
             PubliclyAccessible=part.make.parameters["PubliclyAccessible"],
             VpcSecurityGroupIds=[known[FIREWALL]], ApplyImmediately=True),
    ]  # fmt: skip


def _remove_database(there: There) -> list[Call]:
    """What is in it outlives it, in a snapshot."""
    name = there["DBInstanceIdentifier"]
    last = f"{name}-{str(there.get('DbiResourceId', 'final'))[-8:].lower()}"
    return [
        call("rds", "DeleteDBInstance", ("DBInstanceNotFound", "InvalidDBInstanceState"),
             DBInstanceIdentifier=name, SkipFinalSnapshot=False, FinalDBSnapshotIdentifier=last),
    ]  # fmt: skip


def _find_subnets(account: Account, deployment: str) -> list[Thing]:
    name, gone = Naming(deployment, "").name, ("DBSubnetGroupNotFoundFault",)
    asked = call("rds", "DescribeDBSubnetGroups", gone, DBSubnetGroupName=name)
    found = []
    for each in account.call(asked).get("DBSubnetGroups") or []:
        listed = call("rds", "ListTagsForResource", ResourceName=each["DBSubnetGroupArn"])
        marks = tags(account.call(listed), "TagList")
        if marks.get(DEPLOYMENT) == deployment:
            found.append(Thing(id=name, there=each, tags=marks))
    return found


def _remove_subnets(there: There) -> list[Call]:
    return [call("rds", "DeleteDBSubnetGroup", ("DBSubnetGroupNotFoundFault",),
                 DBSubnetGroupName=there["DBSubnetGroupName"])]  # fmt: skip


def _find_stores(account: Account, deployment: str) -> list[Thing]:
    name = store_of(Naming(deployment, ""), account.region, account.id)
    return find_bucket(account, deployment, STORE, name)


def _store_differs(there: There, part: Part, known: Known) -> str:
    closed = there["closed"] and all(there["closed"].values())
    return "" if closed and there["marks"] else "open to the public"


def _remove_store(there: There) -> list[Call]:
    """Only when it is empty: models are nobody's but yours."""
    return [call("s3", "DeleteBucket", ("NoSuchBucket",), Bucket=there["Bucket"])]


def registry_of(seen: Sequence[tuple[str, Thing]]) -> dict[str, str]:
    """What `[registry]` is to say, and where the password is; empty: there is no registry."""
    there = {kind: each.there for kind, each in seen}
    endpoint = there.get("database", {}).get("Endpoint", {})
    if not endpoint or "store" not in there:
        return {}
    where = f"{_NAME}@{endpoint['Address']}:{endpoint['Port']}/{_NAME}?sslmode=require"
    secret = there["database"].get("MasterUserSecret", {}).get("SecretArn", "")
    return {"url": f"postgresql://{where}", "store": f"s3://{there['store']['Bucket']}",
            "password": secret}  # fmt: skip


def _ready(account: Account, name: str) -> None:
    account.wait("rds", "db_instance_available", DBInstanceIdentifier=name)


def _gone(account: Account, name: str) -> None:
    account.wait("rds", "db_instance_deleted", DBInstanceIdentifier=name)


REGISTRY = {
    # a store that still holds models stops the removal before the database is touched
    "store": Kind(_find_stores, _remove_store, _store_differs),
    "database": Kind(_find_databases, _remove_database, _database_differs, _mend_database,
                     _ready, _gone),
    "database subnets": Kind(_find_subnets, _remove_subnets),
}  # fmt: skip
"""Kind -> how it is looked after, in the order in which they are taken away."""
