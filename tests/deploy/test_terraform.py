"""Terraform's JSON, checked by the names and types that its provider takes."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from roadworthy.deploy.aws.part import Naming
from roadworthy.deploy.aws.parts import all_parts
from roadworthy.deploy.cloud.filling import fill
from roadworthy.deploy.cloud.terraform import escaped, write_terraform
from roadworthy.deploy.deploying import export_terraform
from roadworthy.deploy.runtime import Platform, Runtime
from roadworthy.errors import InputError
from roadworthy.project import AwsSection, Ci, Instances, Project, SshSection
from tests.conftest import Trained
from tests.deploy.terraform.checking import faults, schema
from tests.registry.conftest import registry_project


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("key") / "identity"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place)], check=True)
    return str(place)


@pytest.fixture(autouse=True)
def _nobody_is_signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)


def section(identity: str, **values: Any) -> AwsSection:
    return AwsSection(
        region="eu-central-1", identity=identity, ssh_from=("192.0.2.0/24", "198.51.100.7/32"),
        **values,
    )  # fmt: skip


def written(wanted: AwsSection, folder: Path, project: Project | None = None) -> dict[str, Any]:
    file = write_terraform(project or Project(), "prod", wanted, folder)
    return dict(json.loads(file.read_text()))


def test_what_apply_makes_is_written_for_terraform(identity: str, tmp_path: Path) -> None:
    document = written(section(identity, notify=("ops@example.org",)), tmp_path / "new")
    assert faults(document) == []
    assert "aws_instance" in document["resource"]
    rules = document["resource"]["aws_vpc_security_group_ingress_rule"].values()
    assert {(each["from_port"], each["cidr_ipv4"]) for each in rules} == {
        (22, "192.0.2.0/24"), (22, "198.51.100.7/32"), (80, "0.0.0.0/0")
    }  # fmt: skip
    instance = document["resource"]["aws_instance"]["instance"]
    assert instance["metadata_options"]["http_tokens"] == "required"
    assert instance["root_block_device"]["encrypted"]
    assert "PRIVATE KEY" not in json.dumps(document)


def test_a_subnet_and_an_image_of_your_own_are_looked_up(identity: str, tmp_path: Path) -> None:
    own = section(identity, subnet="subnet-0123456789abcdef0", image="ami-0123456789abcdef0",
                  alarms=False)  # fmt: skip
    document = written(own, tmp_path)
    assert faults(document) == []
    assert "aws_vpc" not in document["resource"]
    assert document["data"]["aws_subnet"]["own"] == {"id": "subnet-0123456789abcdef0"}


def test_it_does_not_carry_the_tag_by_which_destroy_finds_things(
    identity: str, tmp_path: Path
) -> None:
    text = json.dumps(written(section(identity), tmp_path))
    assert "roadworthy-deployment" not in text


def test_texts_of_yours_are_no_templates(identity: str, tmp_path: Path) -> None:
    assert escaped("${file('k')} %{if} $5") == "$${file('k')} %%{if} $5"
    hostile = Project().override("monitor", runbook="https://example.org/${path.module}")
    document = written(section(identity), tmp_path, hostile)
    alarm = document["resource"]["aws_cloudwatch_metric_alarm"]["cpu"]
    assert "$${path.module}" in alarm["alarm_description"]


def test_the_checker_sees_what_is_wrong(identity: str, tmp_path: Path) -> None:
    document = written(section(identity), tmp_path)
    wrong = msgspec.json.decode(msgspec.json.encode(document))
    resources = wrong["resource"]
    resources["aws_vpc"]["network"]["cidr"] = "10.0.0.0/16"
    del resources["aws_key_pair"]["key"]["public_key"]
    resources["aws_instance"]["instance"]["metadata_options"]["http_tokens"] = 1
    del resources["aws_internet_gateway"]
    assert len(faults(wrong)) >= 4


def test_a_host_makes_nothing_that_terraform_could(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="for clouds"):
        write_terraform(Project(), "prod", SshSection(host="h"), tmp_path)


NOTHING = Project()
CI = Ci(system="github", repository="acme/churn", environment="production")
ACCOUNT = {"${data.aws_caller_identity.current.account_id}": "123456789012",
           "${data.aws_partition.current.partition}": "aws"}  # fmt: skip


def policy(text: str) -> dict[str, Any]:
    for written_as, value in ACCOUNT.items():
        text = text.replace(written_as, value)
    return dict(json.loads(text.replace("$${", "${")))


def made_by_apply(wanted: AwsSection) -> dict[str, dict[str, Any]]:
    """Role -> its trust and what it may, of a deployment that apply makes under the same name."""
    found: dict[str, dict[str, Any]] = {}
    known = {"account": "123456789012", "partition": "aws", "aws-firewall": "sg"}
    for part in all_parts(Naming("prod-terraform", "adult"), wanted, NOTHING).values():
        if part.make.operation != "CreateRole":
            continue
        made = fill(part.make.parameters, known)
        settle = [(each.operation, fill(each.parameters, known)) for each in part.settle]
        found[made["RoleName"]] = {
            "trust": json.loads(made["AssumeRolePolicyDocument"]),
            "may": [json.loads(each["PolicyDocument"]) for operation, each in settle
                    if operation == "PutRolePolicy"],
            "attached": [each["PolicyArn"] for operation, each in settle
                         if operation == "AttachRolePolicy"],
        }  # fmt: skip
    return found


def made_by_terraform(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    resources = document["resource"]
    return {
        role["name"]: {
            "trust": policy(role["assume_role_policy"]),
            "may": [policy(each["policy"]) for each in
                    resources.get("aws_iam_role_policy", {}).values()
                    if each["role"] == f"${{aws_iam_role.{name}.name}}"],
            "attached": [policy(json.dumps({"arn": each["policy_arn"]}))["arn"] for each in
                         resources.get("aws_iam_role_policy_attachment", {}).values()
                         if each["role"] == f"${{aws_iam_role.{name}.name}}"],
        }
        for name, role in resources["aws_iam_role"].items()
    }  # fmt: skip


def names(document: dict[str, Any]) -> set[str]:
    """Every name that Terraform gives to something."""
    keys = ("name", "key_name", "bucket", "identifier", "alarm_name")
    return {
        each[key].replace("${data.aws_caller_identity.current.account_id}", "ACCOUNT")
        for resources in document["resource"].values() for each in resources.values()
        for key in keys if key in each and not each[key].startswith("${")
    }  # fmt: skip


def names_of(wanted: AwsSection) -> set[str]:
    """Every name that apply gives to something of a deployment called as Terraform's."""
    keys = ("GroupName", "KeyName", "RoleName", "InstanceProfileName", "Name", "Bucket",
            "logGroupName", "DBInstanceIdentifier", "DBSubnetGroupName", "AlarmName",
            "PolicyName")  # fmt: skip
    parts = all_parts(Naming("prod-terraform", "adult"), wanted, NOTHING).values()
    return {
        str(each.parameters[key]).replace("${account}", "ACCOUNT")
        for part in parts for each in (part.make, *part.settle) for key in keys
        if key in each.parameters and not str(each.parameters[key]).startswith("${")
    }  # fmt: skip


def fleet(**values: Any) -> AwsSection:
    arn = f"arn:aws:acm:eu-central-1:123456789012:certificate/{'0' * 36}"
    given: dict[str, Any] = {
        "instances": Instances(), "certificate": arn, "database": "db.t4g.micro",
        "database_from": ("192.0.2.0/24",), "notify": ("ops@example.org",), **values,
    }  # fmt: skip
    return AwsSection(region="eu-central-1", **given)


def test_a_machine_without_a_port_gets_its_role_and_its_agent(
    identity: str, tmp_path: Path
) -> None:
    wanted = section(identity, access="ssm", ci=CI)
    document = written(wanted, tmp_path)
    assert faults(document) == []
    rules = document["resource"]["aws_vpc_security_group_ingress_rule"].values()
    assert {each["from_port"] for each in rules} == {80}
    instance = document["resource"]["aws_instance"]["instance"]
    assert instance["iam_instance_profile"] == "${aws_iam_instance_profile.profile.name}"
    assert "amazon-ssm-agent" in instance["user_data"]
    assert made_by_terraform(document) == made_by_apply(wanted)
    assert names(document) == names_of(wanted)
    assert document["output"]["role"] == {"value": "${aws_iam_role.ci.arn}"}
    (checked,) = document["resource"]["aws_iam_openid_connect_provider"].values()
    assert checked["client_id_list"] == ["sts.amazonaws.com"]


def test_a_machine_has_its_registry_in_the_zones_of_its_network(
    identity: str, tmp_path: Path
) -> None:
    given = {"database": "db.t4g.micro", "database_from": ("192.0.2.0/24",)}
    wanted = section(identity, ci=CI, **given)
    document = written(wanted, tmp_path)
    assert faults(document) == []
    assert made_by_terraform(document) == made_by_apply(wanted)
    assert names(document) == names_of(wanted)
    resources = document["resource"]
    within = resources["aws_db_subnet_group"]["database_subnets"]["subnet_ids"]
    assert within == ["${aws_subnet.subnet_1.id}", "${aws_subnet.subnet_2.id}"]
    zones = {resources["aws_subnet"][f"subnet_{each}"]["availability_zone"] for each in (1, 2)}
    assert len(zones) == 2
    assert resources["aws_instance"]["instance"]["subnet_id"] == "${aws_subnet.subnet.id}"
    assert not resources["aws_s3_bucket"]["store"]["force_destroy"]  # models cannot be made again
    theirs = ("subnet-0123abcd", "subnet-4567abcd")
    own = section(identity, subnet=theirs[0], subnets=theirs, **given)
    document = written(own, tmp_path / "own")
    assert faults(document) == []
    assert "aws_subnet" not in document["resource"]


def test_what_a_fleet_stands_on_has_the_names_and_the_policies_that_apply_makes(
    tmp_path: Path,
) -> None:
    wanted = fleet(ci=CI, access="ssm")
    document = written(wanted, tmp_path)
    assert faults(document) == []
    assert made_by_terraform(document) == made_by_apply(wanted)
    assert names(document) == names_of(wanted)
    listener = document["resource"]["aws_lb_listener"]["listener"]
    assert listener["protocol"] == "HTTPS"
    assert listener["default_action"][0]["type"] == "fixed-response"  # as before a first release
    assert "aws_autoscaling_group" not in document["resource"]
    assert document["resource"]["aws_db_instance"]["database"]["manage_master_user_password"]
    assert document["output"]["address"] == {"value": "${aws_lb.balancer.dns_name}"}
    assert 'roadworthy-deployment": ' not in json.dumps(document)


def test_a_fleets_machines_come_with_their_release_and_callers_wait_until_they_are_healthy(
    tmp_path: Path, versions: list[Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadworthy.deploy.cloud.fleet_base.gather", _nothing)
    project = msgspec.structs.replace(
        registry_project(tmp_path / "registry"), deploy={"prod": fleet(ci=CI)}
    )
    file = export_terraform(project, "prod", str(versions[0].bundle.path), tmp_path / "out")
    document = json.loads(file.read_text())
    assert faults(document) == []
    machine = written(section(_key(tmp_path), access="ssm", notify=("ops@example.org",)),
                      tmp_path / "machine")  # fmt: skip
    assert set(document["resource"]) | set(machine["resource"]) == set(schema("aws"))
    made = document["resource"]
    group, rules = made["aws_autoscaling_group"]["group"], made["aws_lb_listener_rule"]
    assert (group["min_size"], group["max_size"], group["wait_for_elb_capacity"]) == (2, 4, 2)
    assert "aws_lb_listener_rule.trial" in group["depends_on"]
    assert rules["callers"]["depends_on"] == ["aws_autoscaling_group.group"]
    assert group["target_group_arns"] == ["${aws_lb_target_group.targets.arn}"]
    archive, text = tmp_path / "out/release.tar", (tmp_path / "out/user-data").read_text()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert made["aws_s3_object"]["release"]["key"] == f"releases/{digest}.tar"
    bucket = made["aws_s3_bucket"]["bucket"]["bucket"]
    account = "${data.aws_caller_identity.current.account_id}"
    place = f"s3://{bucket.replace(account, 'ACCOUNT-OF-AWS')}/releases/{digest}.tar"
    assert place in text
    assert digest in text
    template = made["aws_launch_template"]["template"]
    assert '"ACCOUNT-OF-AWS", data.aws_caller_identity' in template["user_data"]
    assert template["metadata_options"]["http_tokens"] == "required"
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [
        "main.tf.json", "release.tar", "user-data",
    ]  # fmt: skip


def _nothing(platform: Platform, folder: Path) -> Runtime:
    return Runtime(platform, "", ())


def _key(folder: Path) -> str:
    (folder / "key.pub").write_text(f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'B' * 43} me\n")
    return str(folder / "key")


def test_secrets_do_not_come_into_terraforms_state(
    tmp_path: Path, versions: list[Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_TOKEN", "very-secret-value")
    project = msgspec.structs.replace(
        registry_project(tmp_path / "registry"), deploy={"prod": fleet(secrets=("SERVER_TOKEN",))}
    )
    with pytest.raises(InputError, match="Terraform's state"):
        export_terraform(project, "prod", str(versions[0].bundle.path), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
