"""Terraform's JSON, checked by the names and types that its provider takes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from roadworthy.deploy.cloud.terraform import escaped, write_terraform
from roadworthy.errors import InputError
from roadworthy.project import AwsSection, Project, SshSection
from tests.deploy.terraform.checking import faults, schema


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
    assert set(document["resource"]) == set(schema("aws"))
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
