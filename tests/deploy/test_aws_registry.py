"""A registry beside a machine on AWS, against moto in its strict settings."""

from __future__ import annotations

from typing import Any

import pytest

from roadworthy.deploy.aws.account import Account
from roadworthy.deploy.aws.provider import AwsProvider
from roadworthy.deploy.cloud.provider import DEPLOYMENT
from roadworthy.errors import OutsideError, RoadworthyError
from roadworthy.project import AwsSection
from tests.deploy import test_aws as machines
from tests.deploy.aws_server import READS, Aws, Fault
from tests.deploy.test_aws import (
    REGION,
    apply,
    aws,
    client,
    current,
    destroy,
    identity,
    provider,
    server,
    tagged,
    the_instance,
)
from tests.deploy.test_aws_fleet import S3, policies

__all__ = ["aws", "identity", "server"]  # fixtures
PARTS = ["aws-database-firewall", "aws-database-subnets", "aws-database", "aws-store"]
ZONES = ["aws-subnet-1", "aws-subnet-2"]


def section(identity: str, **values: Any) -> AwsSection:
    given = {"database": "db.t4g.micro", "database_from": ("192.0.2.0/24",), "alarms": False}
    return machines.section(identity, **{**given, **values})


def without(identity: str) -> AwsSection:
    return machines.section(identity, alarms=False)


def databases() -> list[dict[str, Any]]:
    """The deployment's, asked for past our own code."""
    found = client("rds").describe_db_instances()["DBInstances"]
    tag = {"Key": DEPLOYMENT, "Value": current.name}
    return [dict(each) for each in found if tag in each["TagList"]]


def groups() -> list[str]:
    found = client("rds").describe_db_subnet_groups()["DBSubnetGroups"]
    return [each["DBSubnetGroupName"] for each in found
            if each["DBSubnetGroupName"] == f"roadworthy-{current.name}"]  # fmt: skip


def buckets(one: AwsProvider) -> list[str]:
    named = one.parts["aws-store"].make.filled(one.known | {"account": one.account.id}).parameters
    listed = [each["Name"] for each in client("s3").list_buckets()["Buckets"]]
    return [each for each in listed if each == named["Bucket"]]


def test_a_database_and_a_bucket_are_made_once_and_status_says_what_the_registry_is(
    aws: Aws, identity: str
) -> None:
    done = [step.id for step in apply(provider(section(identity)))]
    assert [each for each in done if each in PARTS] == PARTS
    assert apply(provider(section(identity))) == []
    one = provider(section(identity))
    said, (database,) = one.observe().registry, databases()
    endpoint = database["Endpoint"]
    assert said == {
        "url": f"postgresql://roadworthy@{endpoint['Address']}:{endpoint['Port']}"
        "/roadworthy?sslmode=require",
        "store": f"s3://{buckets(one)[0]}", "password": database["MasterUserSecret"]["SecretArn"],
    }  # fmt: skip
    assert database["StorageEncrypted"]
    assert database["BackupRetentionPeriod"] == 7
    (group,) = client().describe_security_groups(
        GroupIds=[database["VpcSecurityGroups"][0]["VpcSecurityGroupId"]]
    )["SecurityGroups"]
    assert [(each["FromPort"], each["IpRanges"]) for each in group["IpPermissions"]] == [
        (5432, [{"CidrIp": "192.0.2.0/24"}])
    ]
    closed = client("s3").get_public_access_block(Bucket=buckets(one)[0])
    assert all(closed["PublicAccessBlockConfiguration"].values())


def test_a_database_is_in_two_zones_of_the_machines_own_network(aws: Aws, identity: str) -> None:
    apply(provider(section(identity)))
    (group,) = client("rds").describe_db_subnet_groups(
        DBSubnetGroupName=f"roadworthy-{current.name}"
    )["DBSubnetGroups"]
    assert group["VpcId"] == the_instance()["VpcId"]
    zones = {each["SubnetAvailabilityZone"]["Name"] for each in group["Subnets"]}
    assert len(zones) == 2
    asked = [each["SubnetIdentifier"] for each in group["Subnets"]]
    (routes,) = client().describe_route_tables(Filters=machines.mine())["RouteTables"]
    out = {each.get("SubnetId") for each in routes["Associations"]}
    assert {*asked, the_instance()["SubnetId"]} <= out  # who may ask for it comes from outside


def test_it_comes_and_goes_beside_a_machine_that_stays(aws: Aws, identity: str) -> None:
    apply(provider(without(identity)))
    machine = the_instance()["InstanceId"]
    done = [step.id for step in apply(provider(section(identity)))]
    assert done == [*ZONES, "aws-routes", *PARTS]
    assert apply(provider(section(identity))) == []
    removed = apply(provider(without(identity)))
    assert {step.change for step in removed} == {"delete"}
    kinds = [step.document["kind"] for step in removed]
    assert kinds == ["store", "database", "database subnets", "firewall", "subnet", "subnet"]
    assert apply(provider(without(identity))) == []
    assert (databases(), groups()) == ([], [])
    assert the_instance()["InstanceId"] == machine


def test_subnets_of_your_own_hold_the_database_and_are_left_alone(aws: Aws, identity: str) -> None:
    network = client().create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    own = [
        client().create_subnet(
            VpcId=network, CidrBlock=f"10.9.{number}.0/24", AvailabilityZone=f"{REGION}{zone}"
        )["Subnet"]["SubnetId"]
        for number, zone in enumerate("ab")
    ]
    wanted = section(identity, subnet=own[0], subnets=tuple(own))
    apply(provider(wanted))
    assert apply(provider(wanted)) == []
    (group,) = databases()
    assert {each["SubnetIdentifier"] for each in group["DBSubnetGroup"]["Subnets"]} == set(own)
    destroy(provider(wanted))
    assert (databases(), groups(), tagged()) == ([], [], [])
    assert len(client().describe_subnets(SubnetIds=own)["Subnets"]) == 2


@pytest.mark.parametrize("fault", ["cut before", "cut after", "fault"])
def test_a_failure_at_every_call_leaves_nothing_double_and_a_rerun_completes(
    aws: Aws, identity: str, fault: Fault
) -> None:
    seen: set[str] = set()

    def fail(operation: str, body: bytes) -> Fault | None:
        if operation.startswith((*READS, "GET", "HEAD")) or operation in seen:
            return None
        seen.add(operation)
        return fault

    aws.fail = fail
    completed(lambda: apply(provider(section(identity))))
    aws.fail = lambda operation, body: None
    assert apply(provider(section(identity))) == []
    assert {"CreateDBInstance", "CreateDBSubnetGroup"} <= seen
    one = provider(section(identity))
    one.observe()
    assert (len(databases()), len(groups()), len(buckets(one))) == (1, 1, 1)
    seen.clear()
    aws.fail = fail
    completed(lambda: destroy(provider(section(identity))))
    assert {"DeleteDBInstance", "DeleteDBSubnetGroup"} <= seen
    assert (databases(), groups(), buckets(one), tagged()) == ([], [], [], [])


def completed(run: Any) -> None:
    for _ in range(60):
        try:
            run()
        except RoadworthyError as error:
            assert error.fix  # noqa: PT017
        else:
            return
    raise AssertionError("it never completed")


def test_destroy_stops_at_models_before_it_touches_the_database_which_leaves_a_snapshot(
    aws: Aws, identity: str
) -> None:
    one = provider(section(identity))
    apply(one)
    one.observe()
    (bucket,) = buckets(one)
    client("s3").put_object(Bucket=bucket, Key="blobs/ab", Body=b"model")
    with pytest.raises(OutsideError, match="DeleteBucket") as caught:
        destroy(provider(section(identity)))
    assert "still holds models" in str(caught.value.fix)
    assert len(databases()) == 1
    client("s3").delete_object(Bucket=bucket, Key="blobs/ab")
    destroy(provider(section(identity)))
    assert (databases(), groups(), buckets(one), tagged()) == ([], [], [], [])
    listed = client("rds").describe_db_snapshots()["DBSnapshots"]
    assert any(each["DBSnapshotIdentifier"].startswith(f"roadworthy-{current.name}-")
               for each in listed)  # fmt: skip


def test_what_was_changed_by_hand_is_seen_and_mended(aws: Aws, identity: str) -> None:
    one = provider(section(identity))
    apply(one)
    one.observe()
    (bucket,) = buckets(one)
    client("s3").delete_public_access_block(Bucket=bucket)
    client("rds").modify_db_instance(
        DBInstanceIdentifier=f"roadworthy-{current.name}", DBInstanceClass="db.t4g.large",
        ApplyImmediately=True,
    )  # fmt: skip
    (group,) = client().describe_security_groups(
        Filters=[*machines.mine(), {"Name": "group-name", "Values": ["*-database"]}]
    )["SecurityGroups"]
    client().authorize_security_group_ingress(
        GroupId=group["GroupId"], IpProtocol="tcp", FromPort=5432, ToPort=5432, CidrIp="0.0.0.0/0"
    )
    found = provider(section(identity)).observe().differences
    assert found == {
        "aws-database-firewall": "5432 from 0.0.0.0/0 is open too",
        "aws-database": "db.t4g.large", "aws-store": "open to the public",
    }  # fmt: skip
    assert {step.id for step in apply(provider(section(identity)))} == set(found)
    assert apply(provider(section(identity))) == []


def test_a_database_with_a_private_address_is_asked_by_its_network_alone(
    aws: Aws, identity: str
) -> None:
    apply(provider(section(identity)))
    (public,) = databases()
    assert public["PubliclyAccessible"]
    private = section(identity, database_access="private", database_from=())
    (said,) = [each.what for each in provider(private).steps() if each.id == "aws-database"]
    assert "its network alone: not by a CI system, nor by people, outside of it" in said
    assert provider(private).observe().differences["aws-database"] == "a public address"
    done = {step.id for step in apply(provider(private))}
    assert done == {"aws-database-firewall", "aws-database"}
    assert apply(provider(private)) == []
    (database,) = databases()
    assert not database["PubliclyAccessible"]
    assert database["DbiResourceId"] == public["DbiResourceId"]
    (group,) = client().describe_security_groups(
        GroupIds=[database["VpcSecurityGroups"][0]["VpcSecurityGroupId"]]
    )["SecurityGroups"]
    networks = {
        each["CidrIp"] for rule in group["IpPermissions"] for each in rule["IpRanges"]
    }  # fmt: skip
    assert networks == {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}
    apply(provider(section(identity)))
    assert databases()[0]["PubliclyAccessible"]
    assert apply(provider(section(identity))) == []


def test_who_may_not_look_at_databases_still_deploys_a_machine_without_one(
    aws: Aws, identity: str
) -> None:
    aws.fail = lambda operation, body: "denied" if "DB" in operation else None
    apply(provider(without(identity)))
    assert apply(provider(without(identity))) == []
    with pytest.raises(OutsideError, match="rds:DescribeDBInstances"):
        provider(section(identity)).observe()


def test_the_docs_name_every_permission_that_it_needs(
    aws: Aws, identity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, send = {"sts:GetCallerIdentity"}, Account._send

    def noting(self: Account, call: Any) -> dict[str, Any]:
        asked.add(f"{call.service}:{S3.get(call.operation, call.operation)}")
        return send(self, call)

    monkeypatch.setattr(Account, "_send", noting)
    apply(provider(section(identity)))
    destroy(provider(section(identity)))
    machine, fleet = policies()
    besides = {each for each in fleet if each.startswith(("rds:", "s3:"))}
    besides |= {"ec2:DescribeAvailabilityZones", "ec2:ModifySubnetAttribute"}
    assert asked - machine - besides == {"sts:GetCallerIdentity"}  # which needs no permission
    assert "rds:CreateDBInstance" in asked
