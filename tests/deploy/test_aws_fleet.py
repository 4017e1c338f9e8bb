"""A fleet on AWS from end to end, against moto in its strict settings over real sockets.

The machines are moto's, and run nothing: what callers get comes from real servers of the versions,
by a balancer that goes by what moto's listener says. What machines do is in test_aws_machine.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import msgspec
import pytest

from roadworthy.deploy import deploying
from roadworthy.deploy.aws.account import Account
from roadworthy.deploy.aws.call import Call
from roadworthy.deploy.aws.fleet.traffic import Traffic
from roadworthy.deploy.aws.fleet.wanted import fleet_parts
from roadworthy.deploy.aws.part import Naming
from roadworthy.deploy.aws.watching import watching_parts
from roadworthy.deploy.cloud.provider import DEPLOYMENT
from roadworthy.deploy.runtime import Platform, Runtime
from roadworthy.errors import CheckFailed, InputError, OutsideError, RoadworthyError
from roadworthy.project import AwsSection, Ci, Instances, Project
from tests.conftest import Server, Trained, serving
from tests.deploy.aws_balancer import AwsBalancer
from tests.deploy.aws_server import READS, Aws, Fault, aws_server, point_to
from tests.deploy.conftest import Load
from tests.installing import CACHE
from tests.registry.conftest import registry_project

pytestmark = pytest.mark.timeout(600)
REGION = "eu-central-1"
SECRET = "very-secret-value"
HASTY = SimpleNamespace(sleep=lambda seconds: None, monotonic=time.monotonic)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with (
        aws_server(tmp_path_factory.mktemp("aws")) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        point_to(server.url, patch)
        for module in ("account", "provider", "fleet.traffic"):
            patch.setattr(f"roadworthy.deploy.aws.{module}.time", HASTY)
        patch.setattr(Traffic, "address", "127.0.0.1")
        # what runs nowhere needs no wheels
        patch.setattr("roadworthy.deploy.cloud.fleet_base.gather", _nothing)
        # the services' models are large: they are read once
        session = functools.cache(boto3.Session)
        patch.setattr("roadworthy.deploy.aws.account.boto3.Session", session)
        patch.setattr("roadworthy.deploy.aws.account.Account.until", _soon)
        yield server


def _soon(account: object, what: str, done: Any, seconds: float = 0) -> None:
    """Moto's machines are what they will be at once: what is not so now will not be."""
    if not done():
        raise OutsideError(f"AWS takes too long: {what}")


def _nothing(platform: Platform, folder: Path) -> Runtime:
    return Runtime(platform, "", ())


@pytest.fixture(scope="module")
def servers(versions: list[Trained]) -> Iterator[list[Server]]:
    with (
        serving(versions[0].bundle.path) as one,
        serving(versions[1].bundle.path) as two,
    ):
        yield [one, two]


@pytest.fixture(scope="module")
def front(aws: Aws) -> Iterator[AwsBalancer]:
    with contextlib.closing(AwsBalancer(aws, REGION)) as running:
        yield running


@pytest.fixture
def balancer(
    aws: Aws, front: AwsBalancer, versions: list[Trained], servers: list[Server]
) -> AwsBalancer:
    """The balancer of a new deployment; an account is not emptied between tests."""
    aws.reset()
    front.deployment = f"d{uuid.uuid4().hex[:8]}"
    front.servers = {
        each.bundle.manifest.short_version: server.port
        for each, server in zip(versions, servers, strict=True)
    }
    return front


def project(house: Path, front: AwsBalancer, **values: Any) -> Project:
    section = AwsSection(region=REGION, port=front.port, instances=Instances(min=2, max=3),
                         keep=2, **values)  # fmt: skip
    wanted = registry_project(house, cache=str(CACHE / "deploy"))
    return msgspec.structs.replace(wanted, deploy={front.deployment: section})


def path(trained: Trained) -> str:
    return str(trained.bundle.path)


def client(aws: Aws, service: str) -> Any:
    url = f"http://127.0.0.1:{aws.port}"
    return boto3.client(service, REGION, endpoint_url=url)


def groups(aws: Aws, name: str) -> dict[str, tuple[int, int]]:
    """Group -> how many machines it wants and has, past our own code."""
    found = client(aws, "autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return {
        each["AutoScalingGroupName"]: (each["DesiredCapacity"], len(each["Instances"]))
        for each in found if each["AutoScalingGroupName"].startswith(f"roadworthy-{name}-")
    }  # fmt: skip


def tagged(aws: Aws, name: str) -> list[str]:
    """Everything with the deployment's tag, by the interface that is made to find it."""
    found = client(aws, "resourcegroupstaggingapi").get_resources(
        TagFilters=[{"Key": DEPLOYMENT, "Values": [name]}]
    )
    things = [each["ResourceARN"] for each in found["ResourceTagMappingList"]]
    roles = client(aws, "iam").list_roles()["Roles"]
    things += [each["Arn"] for each in roles if f"roadworthy-{name}-" in each["RoleName"]]
    return sorted([*things, *groups(aws, name)])


def test_a_fleet_is_made_swapped_under_load_rolled_back_and_destroyed(
    aws: Aws, balancer: AwsBalancer, house: Path, versions: list[Trained],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    one, two = versions
    name, asked = balancer.deployment, noted(monkeypatch)
    wanted = project(house, balancer, secrets=("SERVER_TOKEN",), database="db.t4g.micro",
                     database_from=("192.0.2.0/24",))  # fmt: skip
    first = deploying.plan(wanted, name, path(one))
    assert {each.change for each in first.steps} == {"create"}
    assert SECRET not in msgspec.json.encode(first).decode()
    with pytest.raises(InputError, match="nothing is deployed"):
        deploying.rollback(wanted, name)
    done = deploying.apply(wanted, name, path(one))
    assert [each.id for each in done.changes] == [each.id for each in first.changes]
    assert deploying.apply(wanted, name, path(one)).changes == ()

    load = Load(f"127.0.0.1:{balancer.port}", one.bundle.contract.example())
    with load.running():
        swap = deploying.apply(wanted, name, path(two))
        wait_for(load, two)
    assert load.failures == []
    assert set(load.answers) == {one.bundle.version, two.bundle.version}
    ids = [each.id for each in swap.changes]
    assert ids[-5:] == ["healthy", "accept", "switch", "drain", "clean"]
    assert sorted(groups(aws, name).values()) == [(0, 0), (2, 2)]
    status = deploying.status(wanted, name)
    assert status.ready
    assert status.details["healthy"] == 2
    assert len(status.releases) == 2

    load = Load(f"127.0.0.1:{balancer.port}", one.bundle.contract.example())
    with load.running():
        deploying.rollback(wanted, name)
        wait_for(load, one)
    assert load.failures == []
    assert deploying.status(wanted, name).serving == done.release
    (mine,) = [each for each in deploying.orphans(wanted_elsewhere(wanted), "other")
               if each.deployment == name]  # fmt: skip
    assert mine.model == "adult"
    deploying.destroy(wanted, name)
    assert tagged(aws, name) == []
    assert deploying.destroy(wanted, name).changes == ()
    list(deploying.logs(wanted, name))
    machine, fleet = policies()
    assert asked - machine - fleet <= {"sts:GetCallerIdentity"}  # which needs no permission
    # tags at creation, and what the group's service asks for with the caller's own permissions;
    # the others mend what this run did not break, or belong to what failed
    assert fleet - asked - UNSEEN == set()


def test_the_role_of_a_pipeline_may_do_all_that_a_swap_and_a_rollback_do(
    aws: Aws, balancer: AwsBalancer, house: Path, versions: list[Trained],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    ci = Ci(system="gitlab", repository="acme/churn", branch="main")
    wanted = project(house, balancer, secrets=("SERVER_TOKEN",), database="db.t4g.micro",
                     database_from=("192.0.2.0/24",), ci=ci)  # fmt: skip
    name = balancer.deployment
    deploying.apply(wanted, name, path(versions[0]))
    asked = noted(monkeypatch)
    swap = deploying.apply(wanted, name, path(versions[1]))
    assert not {"aws-ci", "aws-role", "aws-network"} & {each.id for each in swap.changes}
    said = deploying.status(wanted, name).details
    assert said["AWS_ROLE_ARN"].endswith(f":role/roadworthy-{name}-{REGION}-ci")
    deploying.rollback(wanted, name)
    list(deploying.logs(wanted, name))
    policy = client(aws, "iam").get_role_policy(
        RoleName=f"roadworthy-{name}-{REGION}-ci", PolicyName="deploy"
    )["PolicyDocument"]
    may = {action for each in policy["Statement"] for action in each["Action"]}
    # which other roles use the provider is only asked where it may be known
    assert asked - may <= {"sts:GetCallerIdentity", "iam:ListRoles"}
    assert "ec2:CreateLaunchTemplate" in asked
    deploying.destroy(wanted, name)
    assert tagged(aws, name) == []
    assert client(aws, "iam").list_open_id_connect_providers()["OpenIDConnectProviderList"] == []


def wanted_elsewhere(wanted: Project) -> Project:
    """A project that has another deployment in the region, and a registry of its own."""
    (section,) = wanted.deploy.values()
    empty = msgspec.structs.replace(wanted.registry, url=None, store=None)
    return msgspec.structs.replace(wanted, deploy={"other": section}, registry=empty)


UNSEEN = {
    "autoscaling:CreateOrUpdateTags", "autoscaling:AttachLoadBalancerTargetGroups",
    "autoscaling:DescribeScalingActivities", "elasticloadbalancing:ModifyRule",
    "elasticloadbalancing:ModifyTargetGroup", "elasticloadbalancing:SetSecurityGroups",
    "elasticloadbalancing:SetSubnets", "iam:CreateServiceLinkedRole", "iam:PassRole",
    "rds:AddTagsToResource", "rds:ModifyDBInstance", "rds:CreateDBSnapshot",
    "kms:CreateGrant", "kms:DescribeKey", "secretsmanager:RotateSecret",
    "iam:TagInstanceProfile", "iam:TagRole", "logs:GetLogEvents", "logs:TagResource",
    "secretsmanager:TagResource", "acm:DescribeCertificate", "iam:AttachRolePolicy",
    "iam:DetachRolePolicy",
}  # fmt: skip
# https://docs.aws.amazon.com/AmazonS3/latest/API/: these are allowed by other names
S3 = {
    "HeadBucket": "ListBucket", "ListObjectsV2": "ListBucket", "DeleteObjects": "DeleteObject",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutBucketEncryption": "PutEncryptionConfiguration",
}  # fmt: skip


def noted(patch: pytest.MonkeyPatch) -> set[str]:
    """The permissions that calls need, as they are made."""
    asked: set[str] = {"s3:PutObject"}
    send = Account._send

    def noting(self: Account, call: Call) -> dict[str, Any]:
        service = {"elbv2": "elasticloadbalancing", "resourcegroupstaggingapi": "tag"}.get(
            call.service, call.service
        )
        asked.add(f"{service}:{S3.get(call.operation, call.operation)}")
        return send(self, call)

    patch.setattr(Account, "_send", noting)
    return asked


def policies() -> list[set[str]]:
    """What the docs allow, for a machine and for a fleet besides."""
    docs = (Path(__file__).parents[2] / "docs/deploy.md").read_text()
    found = re.findall(r"```json\n(\{\n  \"Version\".*?)```", docs, re.DOTALL)
    return [set(json.loads(each)["Statement"][0]["Action"]) for each in found]


def test_two_failures_at_every_call_leave_nothing_double_and_nothing_behind(
    aws: Aws, balancer: AwsBalancer, house: Path, versions: list[Trained]
) -> None:
    name, seen = balancer.deployment, Counter[str]()
    wanted = project(house, balancer, secrets=("SERVER_TOKEN",), notify=("ops@example.org",),
                     database="db.t4g.micro", database_from=("192.0.2.0/24",))  # fmt: skip

    def fail(operation: str, body: bytes) -> Fault | None:
        if operation.startswith((*READS, "GET", "HEAD")):
            return None
        if operation == "DeleteParameter":  # the lock, which is then taken over
            return None
        seen[operation] += 1
        faults: dict[int, Fault] = {1: "cut after", 2: "fault"}
        return faults.get(seen[operation])

    aws.fail = fail
    completed(lambda: deploying.apply(wanted, name, path(versions[0])))
    made = tagged(aws, name)
    aws.fail = lambda operation, body: None
    assert deploying.apply(wanted, name, path(versions[0])).changes == ()
    assert tagged(aws, name) == made
    assert list(groups(aws, name).values()) == [(2, 2)]
    assert {"CreateLoadBalancer", "CreateRole", "CreateAutoScalingGroup", "ModifyListener",
            "CreateSecret", "CreateLogGroup", "CreateLaunchTemplate",
            "CreateDBInstance"} <= set(seen)  # fmt: skip
    said = deploying.status(wanted, name).details["registry"]
    assert said["url"].startswith("postgresql://roadworthy@")
    assert said["store"].endswith(REGION)
    seen.clear()
    aws.fail = fail
    completed(lambda: deploying.destroy(wanted, name))
    assert tagged(aws, name) == []


def completed(run: Callable[[], object]) -> None:
    """Run until it completes."""
    for _ in range(40):
        try:
            run()
        except RoadworthyError as error:
            assert error.fix  # noqa: PT017
        else:
            return
    raise AssertionError("it never completed")


def test_a_release_that_does_not_answer_as_it_should_never_gets_a_caller(
    aws: Aws, balancer: AwsBalancer, house: Path, versions: list[Trained]
) -> None:
    one, two = versions
    name, wanted = balancer.deployment, project(house, balancer)
    first = deploying.apply(wanted, name, path(one))
    started = two.bundle.manifest.short_version
    right, balancer.servers[started] = balancer.servers[started], 1  # where nobody answers
    with pytest.raises(CheckFailed, match="callers still get what they got before") as caught:
        deploying.apply(wanted, name, path(two))
    kept = Path(str(caught.value.where))
    assert (kept / "verdict.json").exists()
    assert (kept / "activities.json").exists()
    status = deploying.status(wanted, name)
    assert status.serving == first.release
    assert status.details["failed"] == [kept.name]
    assert list(groups(aws, name).values()) == [(2, 2)]
    balancer.servers[started] = right
    deploying.apply(wanted, name, path(two))
    assert str(deploying.status(wanted, name).serving).startswith(started)


def test_what_was_changed_by_hand_is_seen_and_mended_and_who_is_kept_stays(
    aws: Aws, balancer: AwsBalancer, house: Path, versions: list[Trained]
) -> None:
    name, wanted = balancer.deployment, project(house, balancer)
    deploying.apply(wanted, name, path(versions[0]))
    (group,) = groups(aws, name)
    client(aws, "autoscaling").update_auto_scaling_group(AutoScalingGroupName=group, MinSize=1)
    client(aws, "iam").put_role_policy(
        RoleName=f"roadworthy-{name}-{REGION}", PolicyName="roadworthy",
        PolicyDocument='{"Version": "2012-10-17", "Statement": '
        '[{"Effect": "Allow", "Action": "*", "Resource": "*"}]}',
    )  # fmt: skip
    changes = {each.id: each.what for each in
               deploying.plan(wanted, name, path(versions[0])).changes}  # fmt: skip
    assert set(changes) == {"aws-role", f"aws-group-{group.removeprefix(f'roadworthy-{name}-')}"}
    assert "may do something else" in changes["aws-role"]
    deploying.apply(wanted, name, path(versions[0]))
    assert deploying.apply(wanted, name, path(versions[0])).changes == ()


def test_the_machines_may_do_no_more_than_they_need(aws: Aws, balancer: AwsBalancer) -> None:
    section = AwsSection(region=REGION, instances=Instances(), secrets=("A",))
    parts = fleet_parts(Naming("prod", "adult"), section)
    (put,) = next(each for each in parts if each.id == "aws-role").settle
    policy = json.loads(put.parameters["PolicyDocument"])
    assert {str(each["Action"]) for each in policy["Statement"]} == {
        "s3:GetObject", "['logs:CreateLogStream', 'logs:PutLogEvents']",
        "secretsmanager:GetSecretValue", "cloudwatch:PutMetricData",
    }  # fmt: skip
    *narrow, metrics = policy["Statement"]
    assert all("prod" in each["Resource"] or "/releases/" in each["Resource"] for each in narrow)
    # a metric has no name of its own that a policy could say
    assert metrics["Condition"] == {"StringEquals": {"cloudwatch:namespace": "Roadworthy/prod"}}
    quiet = fleet_parts(Naming("prod", "adult"), msgspec.structs.replace(section, alarms=False))
    (put,) = next(each for each in quiet if each.id == "aws-role").settle
    assert "PutMetricData" not in put.parameters["PolicyDocument"]


def test_alarms_ring_for_the_worst_machine_and_the_dashboard_shows_each() -> None:
    section = AwsSection(region=REGION, instances=Instances())
    parts = {each.id: each for each in watching_parts(Naming("prod", "adult"), section, Project())}
    for name, threshold, minutes in (("cpu", 90.0, 15), ("memory", 90.0, 10), ("disk", 85.0, 10)):
        alarm = parts[f"aws-alarm-{name}"].make.parameters
        assert (alarm["Namespace"], alarm["MetricName"], alarm["Dimensions"]) == (
            "Roadworthy/prod", f"machine_{name}_percent", []
        )  # fmt: skip
        assert (alarm["Statistic"], alarm["Period"], alarm["EvaluationPeriods"]) == (
            "Maximum", 60, minutes
        )  # fmt: skip
        assert (alarm["Threshold"], alarm["TreatMissingData"]) == (threshold, "notBreaching")
    shown = json.loads(parts["aws-dashboard"].make.parameters["DashboardBody"])["widgets"]
    metrics = [each["properties"]["metrics"] for each in shown if each["type"] == "metric"]
    assert [["Roadworthy/prod", f"machine_{each}_percent", {"stat": "Maximum"}]
            for each in ("cpu", "memory", "disk")] in metrics  # fmt: skip
    searched = [each[0][0]["expression"] for each in metrics if "expression" in each[0][0]]
    for name in ("cpu", "memory", "disk"):
        assert (f"SEARCH('{{Roadworthy/prod,InstanceId}} MetricName=\"machine_{name}_percent\"', "
                "'Average')") in searched  # fmt: skip


def test_a_first_release_that_callers_cannot_reach_serves_nobody_and_is_tried_anew(
    aws: Aws, balancer: AwsBalancer, house: Path, versions: list[Trained],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    name, wanted = balancer.deployment, project(house, balancer)
    with monkeypatch.context() as patch:
        patch.setattr(Traffic, "answered", lambda traffic, section: "503")
        with pytest.raises(CheckFailed, match="callers are answered: 503"):
            deploying.apply(wanted, name, path(versions[0]))
    assert deploying.status(wanted, name).serving is None
    assert groups(aws, name) == {}
    deploying.apply(wanted, name, path(versions[0]))
    assert deploying.status(wanted, name).ready


def wait_for(load: Load, version: Trained) -> None:
    end = time.monotonic() + 90
    while load.answers[version.bundle.version] < 3:
        assert time.monotonic() < end, load.failures
        time.sleep(0.02)
