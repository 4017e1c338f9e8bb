"""`[deploy.NAME]` of Azure and Google Cloud: what the project file may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadworthy.errors import ProjectError
from roadworthy.project import (
    AwsSection,
    AzureSection,
    Deployment,
    GcpSection,
    Instances,
    load_project,
)

SHARED = 'identity = "key"\nssh_from = ["192.0.2.0/24"]\n'
AWS = '[deploy.prod]\ntarget = "aws"\nregion = "eu-central-1"\n'
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
        (AWS, 'instances = {}\nsubnet = "subnet-0123456789abcdef0"', "subnets"),
        (AWS, 'instances = {}\ncertificate = "mine.pem"', "certificate"),
        (AWS, 'instances = {}\ndomain = "models.example.org"', "certificate"),
        (AZURE, 'subscription = "mine"', "subscription"),
        (AZURE, 'size = "B2s"', "size"),
        (AZURE, 'image = "Debian:debian-12"', "image"),
        (AZURE, 'user = "admin"', "user"),
        (AZURE, 'subnet = "machines"', "subnet"),
        (AZURE, "disk_gb = 20", "disk_gb"),
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
