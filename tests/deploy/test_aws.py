"""The provider for AWS, against moto in its strict settings over real sockets."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from roadworthy.deploy.aws.account import Account
from roadworthy.deploy.aws.part import Naming
from roadworthy.deploy.aws.provider import AwsProvider, open_aws
from roadworthy.deploy.aws.role import machine_of
from roadworthy.deploy.cloud.opening import open_provider
from roadworthy.deploy.cloud.provider import DEPLOYMENT
from roadworthy.deploy.plan import Step, redone
from roadworthy.errors import InputError, OutsideError, RoadworthyError
from roadworthy.project import AwsSection, Project
from tests.deploy.aws_server import READS, Aws, Fault, aws_server, point_to

REGION = "eu-central-1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with aws_server(tmp_path_factory.mktemp("aws")) as running:
        yield running


current = SimpleNamespace(name="")
"""The name of the deployment of the test that runs: an account is not emptied between tests."""


@pytest.fixture
def aws(server: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    server.reset()
    current.name = f"d{uuid.uuid4().hex[:8]}"
    point_to(server.url, monkeypatch)
    monkeypatch.setattr("roadworthy.deploy.aws.account.time.sleep", lambda seconds: None)
    monkeypatch.setattr("roadworthy.deploy.aws.provider.time.sleep", lambda seconds: None)
    return server


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("key") / "identity"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place)], check=True)
    return str(place)


def section(identity: str, **values: Any) -> AwsSection:
    return AwsSection(region=REGION, identity=identity, ssh_from=("192.0.2.0/24",), **values)


def provider(wanted: AwsSection, name: str | None = None) -> AwsProvider:
    """A provider that has seen nothing yet; the account is shared, for its models are large."""
    return AwsProvider(Naming(name or current.name, "adult"), wanted, Project(), shared_account())


def shared_account() -> Account:
    return _account_at(os.environ["AWS_ENDPOINT_URL"])


@functools.cache
def _account_at(url: str) -> Account:
    """Its clients know their address from when they were made, and each file has a server."""
    return Account(REGION, None)


def client(service: str = "ec2") -> Any:
    return shared_account().client(service)


def mine() -> list[dict[str, str]]:
    return [{"Name": f"tag:{DEPLOYMENT}", "Values": [current.name]}]


def the_instance() -> dict[str, Any]:
    (reservation,) = client().describe_instances(Filters=mine())["Reservations"]
    (instance,) = reservation["Instances"]
    return dict(instance)


def apply(one: AwsProvider) -> list[Step]:
    """What `deploy apply` does with the infrastructure."""
    found = one.observe()
    steps = redone(one.steps(), found.steps)
    todo = [step for step in steps if step.change == "create"] + list(found.surplus)
    for step in todo:
        one.perform(step)
    return todo


def destroy(one: AwsProvider) -> list[Step]:
    one.observe()
    todo = list(one.removal())
    for step in todo:
        one.perform(step)
    return todo


def tagged(name: str | None = None) -> list[str]:
    """Everything in the account that carries the deployment's tag, asked for past our own code."""
    tag = {"Key": DEPLOYMENT, "Value": name or current.name}
    lists = {
        "describe_vpcs": ("Vpcs", "VpcId"), "describe_subnets": ("Subnets", "SubnetId"),
        "describe_internet_gateways": ("InternetGateways", "InternetGatewayId"),
        "describe_route_tables": ("RouteTables", "RouteTableId"),
        "describe_security_groups": ("SecurityGroups", "GroupId"),
        "describe_key_pairs": ("KeyPairs", "KeyPairId"),
        "describe_addresses": ("Addresses", "AllocationId"),
        "describe_volumes": ("Volumes", "VolumeId"),
    }  # fmt: skip
    things = [
        (each[key], each.get("Tags", ()))
        for operation, (listed, key) in lists.items()
        for each in getattr(client(), operation)()[listed]
    ]
    things += [
        (each["InstanceId"], each["Tags"])
        for reservation in client().describe_instances()["Reservations"]
        for each in reservation["Instances"]
        if each["State"]["Name"] != "terminated"
    ]
    return sorted(each for each, tags in things if tag in tags)


def test_an_instance_with_all_it_needs_is_made_once(aws: Aws, identity: str) -> None:
    one = provider(section(identity))
    assert one.observe().machine is None
    done = apply(one)
    assert [step.id for step in done] == [step.id for step in one.steps()]
    assert apply(provider(section(identity))) == []
    instance = the_instance()
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["ImageId"] == "ami-0deb1a2deb1a2de02"  # the newest for the processor
    (address,) = client().describe_addresses(Filters=mine())["Addresses"]
    machine = one.observe().machine
    assert machine is not None
    assert machine.address == address["PublicIp"]
    assert address["InstanceId"] == instance["InstanceId"]
    volume = client().describe_volumes(
        Filters=[{"Name": "attachment.instance-id", "Values": [instance["InstanceId"]]}]
    )["Volumes"][0]
    assert volume["Encrypted"]
    assert volume["Size"] == 20
    rules = client().describe_security_groups(GroupIds=[instance["SecurityGroups"][0]["GroupId"]])
    allowed = {
        (each["FromPort"], each["IpRanges"][0]["CidrIp"])
        for each in rules["SecurityGroups"][0]["IpPermissions"]
    }
    assert allowed == {(22, "192.0.2.0/24"), (80, "0.0.0.0/0")}


@pytest.mark.parametrize("fault", ["cut before", "cut after", "fault", "throttled", "denied"])
def test_a_failure_at_every_call_leaves_nothing_double_and_a_rerun_completes(
    aws: Aws, identity: str, fault: Fault
) -> None:
    seen: set[tuple[str, bytes]] = set()

    def fail(operation: str, body: bytes) -> Fault | None:
        key = operation, body if operation.startswith("Authorize") else b""
        if operation.startswith(READS) or key in seen:
            return None
        seen.add(key)
        return fault

    aws.fail = fail
    tries = completed(lambda: apply(provider(section(identity))))
    made = tagged()
    aws.fail = lambda operation, body: None
    assert apply(provider(section(identity))) == []
    assert tagged() == made
    assert len(client().describe_vpcs(Filters=mine())["Vpcs"]) == 1
    assert {"RunInstances", "CreateVpc", "AssociateAddress", "AttachInternetGateway"} <= {
        operation for operation, _ in seen
    }
    seen.clear()
    aws.fail = fail
    completed(lambda: destroy(provider(section(identity))))
    assert tagged() == []
    assert (tries > 1) == (fault == "denied")


def test_what_is_listed_later_is_waited_for_and_not_made_again(aws: Aws, identity: str) -> None:
    unseen = iter(["unlisted"] * 3)

    def late(operation: str, body: bytes) -> Fault | None:
        made = "CreateVpc" in aws.calls
        return next(unseen, None) if made and operation == "DescribeVpcs" else None

    aws.fail = late  # type: ignore[assignment]
    apply(provider(section(identity)))
    assert aws.calls.count("CreateVpc") == 1
    assert next(unseen, None) is None
    assert apply(provider(section(identity))) == []


def completed(run: Any) -> int:
    """Run until it completes; how often that was."""
    for number in range(1, 60):
        try:
            run()
        except RoadworthyError as error:
            assert error.fix  # noqa: PT017
        else:
            return number
    raise AssertionError("it never completed")


def test_destroy_takes_only_what_carries_the_tag(aws: Aws, identity: str) -> None:
    apply(provider(section(identity)))
    other = f"{current.name}-other"
    apply(provider(section(identity), other))
    foreign = client().create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    others = tagged(other)
    assert len(destroy(provider(section(identity)))) == 17
    assert tagged() == []
    assert tagged(other) == others
    assert client().describe_vpcs(VpcIds=[foreign])["Vpcs"]
    assert destroy(provider(section(identity))) == []


def test_what_was_changed_by_hand_is_seen_and_mended(aws: Aws, identity: str) -> None:
    apply(provider(section(identity)))
    group = client().describe_security_groups(Filters=mine())["SecurityGroups"][0]
    rule = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432,
            "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}  # fmt: skip
    client().authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[rule])
    address = client().describe_addresses(Filters=mine())["Addresses"][0]
    client().disassociate_address(AssociationId=address["AssociationId"])
    name = the_instance()["InstanceId"]
    client().stop_instances(InstanceIds=[name])
    found = provider(section(identity)).observe()
    assert found.differences == {
        "aws-address": "not the instance's",
        "aws-firewall": "5432 from 0.0.0.0/0 is open too",
        "aws-instance": "stopped",
    }
    assert {step.id for step in apply(provider(section(identity)))} == set(found.differences)
    assert apply(provider(section(identity))) == []


def test_another_type_is_taken_by_the_same_instance(aws: Aws, identity: str) -> None:
    apply(provider(section(identity)))
    larger = provider(section(identity, instance_type="t3.large"))
    assert larger.observe().differences == {"aws-instance": "t3.small"}
    assert [step.id for step in apply(larger)] == ["aws-instance"]
    assert the_instance()["InstanceType"] == "t3.large"
    assert the_instance()["State"]["Name"] == "running"


def test_an_orphan_is_listed_and_removed(aws: Aws, identity: str) -> None:
    one = provider(section(identity))
    apply(one)
    make = one.parts["aws-network"].make
    one.account.call(make)
    found = provider(section(identity)).observe()
    assert len(found.surplus) == 1
    removed = apply(provider(section(identity)))
    assert [step.change for step in removed] == ["delete"]
    assert apply(provider(section(identity))) == []


def test_a_subnet_of_your_own_is_used_and_never_removed(aws: Aws, identity: str) -> None:
    network = client().create_vpc(CidrBlock="10.2.0.0/16")["Vpc"]["VpcId"]
    subnet = client().create_subnet(VpcId=network, CidrBlock="10.2.1.0/24")["Subnet"]["SubnetId"]
    wanted = section(identity, subnet=subnet)
    apply(provider(wanted))
    instance = the_instance()
    assert (instance["VpcId"], instance["SubnetId"]) == (network, subnet)
    destroy(provider(wanted))
    assert client().describe_subnets(SubnetIds=[subnet])["Subnets"]


def test_a_graviton_type_gets_an_image_for_arm(aws: Aws, identity: str) -> None:
    apply(provider(section(identity, instance_type="t4g.small")))
    instance = the_instance()
    assert instance["ImageId"] == "ami-0deb1a2deb1a2de03"
    kinds = {"t4g.small": "aarch64", "m7gd.large": "aarch64", "c6gn.xlarge": "aarch64",
             "a1.large": "aarch64", "t3.small": "x86_64", "g5.xlarge": "x86_64",
             "g4dn.xlarge": "x86_64", "g5g.xlarge": "aarch64", "m6i.large": "x86_64",
             "im4gn.large": "aarch64", "u7in-16tb.224xlarge": "x86_64"}  # fmt: skip
    assert {each: machine_of(each) for each in kinds} == kinds


@pytest.mark.parametrize(
    ("fault", "said", "fix"),
    [
        ("denied", "ec2:CreateVpc", "allow ec2:CreateVpc"),
        ("quota", "quota", "Service Quotas"),
    ],
)
def test_a_refusal_names_the_permission_or_the_quota(
    aws: Aws, identity: str, fault: Fault, said: str, fix: str
) -> None:
    aws.fail = lambda operation, body: fault if operation == "CreateVpc" else None
    with pytest.raises(OutsideError, match=said) as caught:
        apply(provider(section(identity)))
    assert fix in str(caught.value.fix)


def test_missing_credentials_and_a_wrong_region_are_said(
    aws: Aws, identity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(OutsideError, match="no usable AWS credentials") as caught:
        open_aws(Project(), "prod", section(identity), "adult").observe()
    assert "aws sso login" in str(caught.value.fix)
    with pytest.raises(OutsideError, match="no usable AWS credentials"):
        open_aws(Project(), "prod", section(identity, profile="nobody"), "adult")


def test_two_deployments_of_a_name_are_kept_apart(aws: Aws, identity: str) -> None:
    parameter = f"/roadworthy/{current.name}/lock"
    with provider(section(identity)).lock():
        assert client("ssm").get_parameter(Name=parameter)
        with (
            pytest.raises(OutsideError, match="another deployment is at work"),
            provider(section(identity)).lock(),
        ):
            pass
    assert client("ssm").describe_parameters()["Parameters"] == []
    client("ssm").put_parameter(Name=parameter, Value="elsewhere/77/1/abc", Type="String")
    with (
        pytest.raises(OutsideError, match="elsewhere, process 77") as caught,
        provider(section(identity)).lock(),
    ):
        pass
    assert f"delete-parameter --name {parameter}" in str(caught.value.fix)


def test_host_keys_come_from_the_console_and_are_kept_with_the_instance(
    aws: Aws, identity: str
) -> None:
    one = provider(section(identity))
    apply(one)
    key = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'B' * 42}+"
    aws.console = (
        "[ 9.1] cloud-init[500]: ci-info\r\n-----BEGIN SSH HOST KEY KEYS-----\r\n"
        f"ecdsa-sha2-nistp256 {'A' * 80}= root@host\r\n{key} root@host\r\n"
        "-----END SSH HOST KEY KEYS-----\r\n"
    )
    machine = one.observe().machine
    assert machine is not None
    assert not machine.pinned
    assert key in machine.host_keys
    one.pin(machine.host_keys)
    aws.console = ""
    again = provider(section(identity)).observe().machine
    assert again is not None
    assert again.pinned
    assert again.host_keys == (key,)


def test_steps_are_plain_data_with_a_command_line_and_a_price(identity: str, aws: Aws) -> None:
    steps = provider(section(identity)).steps()
    assert aws.calls == []  # pure
    text = msgspec.json.encode(steps).decode()
    assert "${aws-network}" in text
    assert "PRIVATE" not in text
    instance = next(step for step in steps if step.id == "aws-instance")
    assert instance.price is not None
    assert instance.price.monthly == round(0.024 * 730 + 0.0952 * 20, 2)
    assert "aws ec2 run-instances --region eu-central-1 --cli-input-json" in instance.command
    elsewhere = AwsSection(region="eu-north-1", identity=identity, ssh_from=("192.0.2.0/24",))
    assert all(step.price is None for step in provider(elsewhere).steps())


def test_a_dashboard_shows_the_machine_and_its_alarms_and_is_compared_changed_and_removed(
    aws: Aws, identity: str
) -> None:
    wanted = section(identity)
    apply(provider(wanted))
    name = f"roadworthy-{current.name}"
    (body,) = [client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"]]
    document = json.loads(body)
    assert "${" not in body
    (shown,) = [each for each in document["widgets"] if each["type"] == "alarm"]
    arns = {each["AlarmArn"] for each in client("cloudwatch").describe_alarms(
        AlarmNamePrefix=f"{name}/")["MetricAlarms"]}  # fmt: skip
    assert set(shown["properties"]["alarms"]) == arns
    machine = ["AWS/EC2", "CPUUtilization", "InstanceId", the_instance()["InstanceId"]]
    assert any(machine == each[:4] for widget in document["widgets"]
               for each in widget["properties"].get("metrics", ()))  # fmt: skip
    assert {each["properties"]["region"] for each in document["widgets"]
            if each["type"] == "metric"} == {REGION}  # fmt: skip
    places = [(each["x"], each["y"]) for each in document["widgets"]]
    assert len(set(places)) == len(places)
    document["widgets"].pop(0)
    client("cloudwatch").put_dashboard(DashboardName=name, DashboardBody=json.dumps(document))
    assert provider(wanted).observe().differences == {"aws-dashboard": "it shows something else"}
    assert [step.id for step in apply(provider(wanted))] == ["aws-dashboard"]
    assert apply(provider(wanted)) == []
    destroy(provider(wanted))
    listed = client("cloudwatch").list_dashboards(DashboardNamePrefix=name)["DashboardEntries"]
    assert listed == []


def test_a_dashboard_of_somebody_else_is_left_alone(aws: Aws, identity: str) -> None:
    name = f"roadworthy-{current.name}"
    for theirs in ('{"widgets": []}', '{"widgets": [{"type": "text", "properties": {}}]}', "[1]"):
        client("cloudwatch").put_dashboard(DashboardName=name, DashboardBody=theirs)
        destroy(provider(section(identity)))
        kept = client("cloudwatch").get_dashboard(DashboardName=name)
        assert kept["DashboardBody"] == theirs
        with pytest.raises(InputError, match="was not made by Roadworthy") as caught:
            apply(provider(section(identity)))
        assert "another name" in str(caught.value.fix)


def test_alarms_ring_at_a_topic_and_what_is_changed_or_no_longer_wanted_is_mended(
    aws: Aws, identity: str
) -> None:
    wanted = section(identity, notify=("ops@example.org",))
    apply(provider(wanted))
    prefix = f"roadworthy-{current.name}/"
    alarms = client("cloudwatch").describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"]
    names = {each["AlarmName"].removeprefix(prefix) for each in alarms}
    assert names == {"machine", "cpu", "memory", "disk"}
    topics = {each["AlarmActions"][0] for each in alarms}
    (topic,) = topics
    told = client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [each["Endpoint"] for each in told] == ["ops@example.org"]
    for each in alarms:
        of_ec2 = each["Namespace"] == "AWS/EC2"
        name = [{"Name": "InstanceId", "Value": the_instance()["InstanceId"]}] if of_ec2 else []
        assert each["Dimensions"] == name
        assert of_ec2 or each["Namespace"] == f"Roadworthy/{current.name}"
    client("cloudwatch").put_metric_alarm(
        AlarmName=f"{prefix}cpu", ComparisonOperator="GreaterThanThreshold", EvaluationPeriods=3,
        Threshold=99, MetricName="CPUUtilization", Namespace="AWS/EC2", Period=300,
        Statistic="Average",
    )  # fmt: skip
    assert "Threshold" in provider(wanted).observe().differences["aws-alarm-cpu"]
    assert [step.id for step in apply(provider(wanted))] == ["aws-alarm-cpu"]
    assert apply(provider(wanted)) == []
    removed = apply(provider(section(identity, alarms=False)))
    assert removed[0].id == "aws-instance"  # it has no role any more
    assert [step.change for step in removed[1:]] == ["delete"] * 9
    assert client("cloudwatch").describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"] == []
    assert topic not in str(client("sns").list_topics())


def test_by_systems_manager_no_port_of_ssh_is_open_and_a_role_lets_its_agent_work(
    aws: Aws, identity: str
) -> None:
    wanted = AwsSection(region=REGION, identity=identity, access="ssm", profile=None)
    one = provider(wanted)
    apply(one)
    assert apply(provider(wanted)) == []
    instance, name = the_instance(), f"roadworthy-{current.name}-{REGION}"
    assert instance["IamInstanceProfile"]["Arn"].endswith(f"/{name}")
    (group,) = client().describe_security_groups(Filters=mine())["SecurityGroups"]
    assert [each["FromPort"] for each in group["IpPermissions"]] == [80]
    attached = client("iam").list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert [each["PolicyName"] for each in attached] == ["AmazonSSMManagedInstanceCore"]
    client("iam").attach_role_policy(
        RoleName=name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
    )
    assert [step.id for step in apply(provider(wanted))] == ["aws-role"]
    assert apply(provider(wanted)) == []
    machine = provider(wanted).observe().machine
    assert machine is not None
    assert f"--target {instance['InstanceId']} --document-name AWS-StartSSHSession" in machine.proxy
    destroy(provider(wanted))
    assert name not in str(client("iam").list_roles())
    assert tagged() == []


def test_a_machine_without_the_agent_is_not_taken_for_one_with_it(aws: Aws, identity: str) -> None:
    apply(provider(section(identity)))
    with pytest.raises(InputError, match="no agent of Systems Manager"):
        apply(provider(section(identity, access="ssm")))


def association() -> list[str]:
    """The profiles that the machine has its role by, asked for past our own code."""
    asked = [{"Name": "instance-id", "Values": [the_instance()["InstanceId"]]}]
    found = client().describe_iam_instance_profile_associations(Filters=asked)
    return [each["IamInstanceProfile"]["Arn"].rpartition("/")[2]
            for each in found["IamInstanceProfileAssociations"]]  # fmt: skip


def test_a_machine_gets_its_role_and_loses_it_while_it_runs(aws: Aws, identity: str) -> None:
    quiet, telling = section(identity, alarms=False), section(identity)
    apply(provider(quiet))
    name, role = the_instance()["InstanceId"], f"roadworthy-{current.name}-{REGION}"
    assert association() == []
    assert role not in str(client("iam").list_roles())
    assert "RunInstances" in aws.calls
    for _ in range(2):
        assert provider(telling).observe().differences == {"aws-instance": "without its role"}
        apply(provider(telling))
        assert association() == [role]
        assert apply(provider(telling)) == []
        assert provider(quiet).observe().differences == {"aws-instance": "with a role"}
        apply(provider(quiet))
        assert association() == []
        assert role not in str(client("iam").list_roles())
        assert apply(provider(quiet)) == []
    assert the_instance()["InstanceId"] == name
    assert aws.calls.count("RunInstances") == 1


def test_a_role_that_is_left_when_its_removal_is_cut_off_is_found_again(
    aws: Aws, identity: str
) -> None:
    quiet = section(identity, alarms=False)
    apply(provider(section(identity)))
    aws.fail = lambda operation, body: "denied" if operation == "DeleteRole" else None
    with pytest.raises(OutsideError):
        apply(provider(quiet))
    assert association() == []
    aws.reset()
    assert [step.what.split()[2] for step in apply(provider(quiet))] == ["role"]
    assert f"roadworthy-{current.name}-{REGION}" not in str(client("iam").list_roles())


def test_its_role_lets_a_machine_tell_of_itself_and_do_nothing_else(
    aws: Aws, identity: str
) -> None:
    apply(provider(section(identity)))
    name = f"roadworthy-{current.name}-{REGION}"
    given = client("iam").get_role_policy(RoleName=name, PolicyName="roadworthy")
    logs, metrics = given["PolicyDocument"]["Statement"]
    group = f"arn:aws:logs:{REGION}:123456789012:log-group:/roadworthy/{current.name}:*"
    assert (logs["Action"], logs["Resource"]) == (
        ["logs:CreateLogStream", "logs:PutLogEvents"], group)  # fmt: skip
    only = {"cloudwatch:namespace": f"Roadworthy/{current.name}"}
    assert metrics["Action"] == "cloudwatch:PutMetricData"
    assert metrics["Condition"] == {"StringEquals": only}
    assert client("iam").list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []


def test_without_the_library_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, identity: str
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(OutsideError, match="libraries of aws are missing") as caught:
        open_provider(Project(), "prod", section(identity), None)
    assert caught.value.fix == "pip install 'roadworthy[aws]'"


def test_the_policy_in_the_docs_allows_every_call_and_nothing_more(aws: Aws, identity: str) -> None:
    asked: set[str] = set()

    def note(operation: str, body: bytes) -> None:
        asked.add(operation)

    aws.fail = note
    one = provider(section(identity, notify=("ops@example.org",)))
    with one.lock():
        apply(one)
        one.pin(("ssh-ed25519 AAAA",))
        client().stop_instances(InstanceIds=[the_instance()["InstanceId"]])
        larger = provider(section(identity, instance_type="t3.large"))
        apply(larger)
        destroy(larger)
    apply(provider(section(identity, image="ami-0deb1a2deb1a2de01", alarms=False)))
    apply(provider(section(identity)))
    apply(provider(section(identity, alarms=False)))
    destroy(provider(section(identity)))
    docs = (Path(__file__).parents[2] / "docs/deploy.md").read_text()
    policy, *_ = re.findall(r"```json\n(\{\n  \"Version\".*?)```", docs, re.DOTALL)
    (statement,) = json.loads(policy)["Statement"]
    allowed = {action.partition(":")[2] for action in statement["Action"]}
    assert asked - allowed <= {"GetCallerIdentity"}  # which needs no permission
    # tags at creation are permissions of their own; the others mend what these runs did not break
    assert allowed - asked <= {
        "AddTagsToResource", "GetResources", "TagResource", "DeleteRoute",
        "DescribeSubnets", "RevokeSecurityGroupIngress", "PassRole", "TagRole",
        "TagInstanceProfile", "AttachRolePolicy", "DetachRolePolicy",
    }  # fmt: skip
