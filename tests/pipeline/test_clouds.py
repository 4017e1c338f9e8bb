"""Pipelines sign in where deployments let their jobs in."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from roadworthy.errors import ProjectError
from roadworthy.pipeline import SYSTEMS, check, write
from roadworthy.pipeline.clouds import with_clouds
from roadworthy.project import AwsSection, AzureSection, Ci, CloudSection, Project
from tests.pipeline.projects import full_project

PRODUCTION = Ci(system="github", repository="acme/churn", environment="production")
BRANCH = Ci(system="gitlab", repository="acme/churn", branch="main")


def project(**sections: CloudSection) -> Project:
    wanted = full_project(clouds=(), targets=tuple(sections))
    return msgspec.structs.replace(wanted, deploy=dict(sections))


def aws(ci: Ci | None) -> AwsSection:
    return AwsSection(region="eu-central-1", identity="key", ssh_from=("192.0.2.0/24",), ci=ci)


def azure(ci: Ci | None) -> AzureSection:
    return AzureSection(region="westeurope", identity="key", ssh_from=("192.0.2.0/24",), ci=ci)


def test_a_deployment_that_lets_the_jobs_in_is_signed_in_to(tmp_path: Path) -> None:
    wanted = project(web=aws(PRODUCTION))
    write(wanted, SYSTEMS["github"], tmp_path)
    text = "".join(each.read_text() for each in (tmp_path / ".github").rglob("*.yml"))
    assert "role-to-assume: ${{ vars.AWS_ROLE_ARN }}" in text
    assert "id-token: write" in text
    assert check(wanted, SYSTEMS["github"], tmp_path).passed


def test_what_is_asked_for_besides_stays_and_each_stands_once() -> None:
    wanted = project(web=aws(PRODUCTION), api=azure(PRODUCTION), other=aws(PRODUCTION))
    wanted = wanted.override("pipeline", clouds=("gcp", "azure"))
    assert with_clouds(wanted, "github").pipeline.clouds == ("gcp", "azure", "aws")


def test_jobs_of_another_system_or_of_nobody_sign_in_nowhere() -> None:
    assert with_clouds(project(web=aws(BRANCH)), "github").pipeline.clouds == ()
    assert with_clouds(project(web=aws(None)), "github").pipeline.clouds == ()
    assert with_clouds(project(web=aws(BRANCH)), "gitlab").pipeline.clouds == ("aws",)


@pytest.mark.parametrize(
    ("ci", "key"),
    [
        (msgspec.structs.replace(PRODUCTION, environment="live"), "ci.environment"),
        (Ci(system="github", repository="acme/churn", branch="main"), "ci.branch"),
        (msgspec.structs.replace(BRANCH, branch="trunk"), "ci.branch"),
    ],
)
def test_jobs_that_the_pipeline_does_not_have_are_named(ci: Ci, key: str, tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        write(project(web=aws(ci)), SYSTEMS[ci.system], tmp_path)
    assert caught.value.where == f"deploy.web.{key}"
    assert list(tmp_path.iterdir()) == []
