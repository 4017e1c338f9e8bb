"""`[deploy.NAME]` of Azure and Google Cloud: what the project file may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadworthy.errors import ProjectError
from roadworthy.project import (
    AwsSection,
    AzureSection,
    Ci,
    Deployment,
    GcpSection,
    Instances,
    load_project,
)

SHARED = 'identity = "key"\nssh_from = ["192.0.2.0/24"]\n'
AWS = '[deploy.prod]\ntarget = "aws"\nregion = "eu-central-1"\n'
NET = "subnet-0123456789abcdef"
DATABASE = 'database = "db.t4g.micro"\ndatabase_from = ["192.0.2.0/24"]'
AZURE = f'[deploy.prod]\ntarget = "azure"\nregion = "westeurope"\n{SHARED}'
GCP = f'[deploy.prod]\ntarget = "gcp"\nzone = "europe-west1-b"\n{SHARED}'


def section_of(folder: Path, text: str) -> Deployment:
    place = folder / "roadworthy.toml"
    place.write_text(text)
    return load_project(place).deploy["prod"]


def test_a_few_lines_are_enough(tmp_path: Path) -> None:
    azure = section_of(tmp_path, AZURE)
    assert isinstance(azure, AzureSection)
    assert (azure.place, azure.size, azure.disk_gb) == ("azure westeurope", "Standard_B2s", 30)
    gcp = section_of(tmp_path, GCP)
    assert isinstance(gcp, GcpSection)
    assert (gcp.place, gcp.region) == ("gcp europe-west1-b", "europe-west1")
    assert gcp.machine_type == "e2-small"


def test_a_machine_on_aws_has_a_database_beside_it(tmp_path: Path) -> None:
    machine = section_of(tmp_path, f"{AWS}{SHARED}{DATABASE}\n")
    assert isinstance(machine, AwsSection)
    assert (machine.fleet, machine.database) == (False, "db.t4g.micro")
    own = f'subnet = "{NET}0"\nsubnets = ["{NET}1", "{NET}2"]\n'
    assert section_of(tmp_path, f"{AWS}{SHARED}{own}{DATABASE}\n")


def test_a_fleet_needs_no_key_and_no_ssh(tmp_path: Path) -> None:
    fleet = section_of(tmp_path, f"{AWS}instances = {{min = 3, max = 9}}\n")
    assert isinstance(fleet, AwsSection)
    assert fleet.fleet
    assert fleet.instances == Instances(min=3, max=9, cpu=60, standby=0)
    arn = f"arn:aws:acm:eu-central-1:123456789012:certificate/{'0' * 8}-{'0' * 27}"
    secured = section_of(tmp_path, f'{AWS}instances = {{}}\ncertificate = "{arn}"\n')
    assert secured.public_port == 443
    with pytest.raises(ProjectError, match="identity"):
        section_of(tmp_path, AWS)
    with pytest.raises(ProjectError, match="ssh_from"):
        section_of(tmp_path, f'{AWS}identity = "key"\n')


@pytest.mark.parametrize(
    ("base", "line", "key"),
    [
        (AWS, "instances = {min = 3, max = 2}", "instances.min"),
        (AWS, "instances = {cpu = 5}", "instances.cpu"),
        (AWS, "instances = {standby = 5}", "instances.standby"),
        (AWS, "instances = {least = 1}", "least"),
        (AWS, 'instances = {}\ndatabase = "large"', "database"),
        (AWS, 'instances = {}\ndatabase = "db.t4g.micro"', "database_from"),
        (AWS, 'instances = {}\nsubnets = ["subnet-0123456789abcdef0"]', "subnets"),
        (AWS, f'{SHARED}subnets = ["{NET}0", "{NET}1"]', "subnets"),
        (AWS, f'{SHARED}subnet = "{NET}0"\n{DATABASE}', "subnets"),
        (AWS, f'{SHARED}{DATABASE}\nsubnets = ["{NET}0", "{NET}1"]', "subnets"),
        (AWS, 'instances = {}\nsubnet = "subnet-0123456789abcdef0"', "subnets"),
        (AWS, 'instances = {}\ncertificate = "mine.pem"', "certificate"),
        (AWS, 'instances = {}\ndomain = "models.example.org"', "certificate"),
        (AZURE, 'subscription = "mine"', "subscription"),
        (AZURE, 'size = "B2s"', "size"),
        (AZURE, 'image = "Debian:debian-12"', "image"),
        (AZURE, 'user = "admin"', "user"),
        (AZURE, 'subnet = "machines"', "subnet"),
        (AZURE, "disk_gb = 20", "disk_gb"),
        (AZURE, 'database = "B1ms"\ndatabase_from = ["192.0.2.0/24"]', "database"),
        (AZURE, 'database = "Standard_B1ms"', "database_from"),
        (
            AZURE,
            'database = "Standard_B1ms"\ndatabase_access = "private"\n'
            'database_from = ["192.0.2.0/24"]',
            "database_from",
        ),
        (AZURE, 'database_access = "private"', "database_access"),
        (GCP, 'database = "db-g1-small"\ndatabase_access = "secret"', "database_access"),
        (AWS, 'instances = {}\ndatabase_access = "private"', "database_access"),
        (
            AWS,
            'instances = {}\ndatabase = "db.t4g.micro"\ndatabase_access = "private"\n'
            'database_from = ["192.0.2.0/24"]',
            "database_from",
        ),
        (AZURE, 'encryption_at_host = "yes"', "encryption_at_host"),
        (AZURE, 'instance_type = "t3.small"', "instance_type"),
        (GCP, 'project = "P"', "project"),
        (GCP, 'machine_type = "Large"', "machine_type"),
        (GCP, 'image = "debian-12"', "image"),
        (GCP, 'user = "root"', "user"),
        (GCP, 'subnet = "machines"', "subnet"),
        (GCP, 'service_account = "me"', "service_account"),
        (GCP, "disk_gb = 9", "disk_gb"),
        (GCP, 'database = "db.t4g.micro"\ndatabase_from = ["192.0.2.0/24"]', "database"),
        (GCP, 'database = "db-g1-small"', "database_from"),
        (GCP, 'database_from = ["192.0.2.0/24"]', "database_from"),
        (GCP, 'database = "db-g1-small"\ndatabase_from = ["here"]', "database_from"),
        (GCP, 'region = "europe-west1"', "region"),
    ],
)
def test_a_wrong_value_or_key_is_named(tmp_path: Path, base: str, line: str, key: str) -> None:
    with pytest.raises(ProjectError, match=key):
        section_of(tmp_path, f"{base}{line}\n")


@pytest.mark.parametrize(
    ("base", "good", "bad"),
    [(AZURE, "westeurope", "West Europe"), (GCP, "europe-west1-b", "europe-west1")],
)
def test_a_place_that_cannot_be_one_is_refused(
    tmp_path: Path, base: str, good: str, bad: str
) -> None:
    with pytest.raises(ProjectError, match="like"):
        section_of(tmp_path, base.replace(good, bad))


def ci_of(folder: Path, text: str) -> Ci | None:
    section = section_of(folder, f"{AZURE}ci = {{{text}}}\n")
    assert isinstance(section, AzureSection)
    return section.ci


def test_whom_a_cloud_lets_deploy_is_named_in_one_line(tmp_path: Path) -> None:
    github = ci_of(
        tmp_path, 'system = "github", repository = "acme/churn", environment = "production"'
    )
    assert github == Ci(system="github", repository="acme/churn", environment="production")
    gitlab = ci_of(tmp_path, 'system = "gitlab", repository = "acme/models/churn", branch = "main"')
    assert gitlab is not None
    assert gitlab.branch == "main"
    assert ci_of(
        tmp_path,
        'system = "jenkins", repository = "https://ci.example/job/churn/", '
        'issuer = "https://ci.example"',
    )


@pytest.mark.parametrize(
    ("system", "rest", "key"),
    [
        ("github", 'repository = "acme/*", branch = "main"', "ci.repository"),
        ("github", 'repository = "acme/churn", branch = "*"', "ci.branch"),
        ("github", 'repository = "acme/churn", environment = "prod?"', "ci.environment"),
        ("github", 'repository = "acme", branch = "main"', "ci.repository"),
        ("github", 'repository = "a/b/c", branch = "main"', "ci.repository"),
        ("github", 'repository = "acme/churn"', "ci.environment"),
        ("github", 'repository = "a/b", branch = "main", environment = "p"', "ci.environment"),
        ("github", 'repository = "a/b", branch = "m", issuer = "https://x.example"', "ci.issuer"),
        ("github", 'repository = "a/b:ref", branch = "main"', "ci.repository"),
        ("github", 'repository = "a/b", environment = "a:b"', "ci.environment"),
        ("gitlab", 'repository = "a/b", environment = "production"', "ci.environment"),
        ("gitlab", 'repository = "a/b"', "ci.branch"),
        ("gitlab", 'repository = "a/b", branch = "m", issuer = "http://x.example"', "ci.issuer"),
        ("jenkins", 'repository = "a/b", issuer = "https://x.example"', "ci.repository"),
        ("jenkins", 'repository = "https://x.example/job/a/"', "ci.issuer"),
        ("jenkins", 'repository = "https://x.example/job/*/", issuer = "https://x.example"',
         "ci.repository"),
        ("travis", 'repository = "a/b"', "ci"),
        ("github", 'repository = "a/b", branch = "main", audience = "x"', "ci"),
    ],
)  # fmt: skip
def test_whom_a_cloud_would_let_in_besides_is_refused(
    tmp_path: Path, system: str, rest: str, key: str
) -> None:
    with pytest.raises(ProjectError, match=f"deploy.*{key}") as caught:
        ci_of(tmp_path, f'system = "{system}", {rest}')
    if "*" in rest or "?" in rest:
        assert "a pattern (* or ?) would let jobs of others in" in str(caught.value.fix)
