"""What a plan says of its price: what the table covers, what it does not, what is paid by use."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from roadworthy.cli.deploy.options import print_plan
from roadworthy.deploy.aws.fleet.releases import make as aws_release
from roadworthy.deploy.aws.part import Naming, Part
from roadworthy.deploy.aws.parts import all_parts
from roadworthy.deploy.azure.exporting import all_parts as azure_parts
from roadworthy.deploy.azure.fleet.releases import make as azure_release
from roadworthy.deploy.azure.resource import VERSIONS
from roadworthy.deploy.azure.resource import Naming as AzureNaming
from roadworthy.deploy.azure.resource import Resource as AzureResource
from roadworthy.deploy.cloud.prices import HOURS, PAID, price_of, stored, table, together
from roadworthy.deploy.gcp.exporting import all_parts as google_parts
from roadworthy.deploy.gcp.fleet.releases import make as google_release
from roadworthy.deploy.gcp.kinds import KINDS
from roadworthy.deploy.gcp.resource import Naming as GoogleNaming
from roadworthy.deploy.gcp.resource import Resource as GoogleResource
from roadworthy.deploy.opening import wanted_of
from roadworthy.deploy.plan import Plan, Step
from roadworthy.deploy.runtime import Platform, Runtime
from roadworthy.project import AwsSection, AzureSection, Ci, GcpSection, Instances, Project
from tests.conftest import Trained
from tests.deploy.test_terraform_elsewhere import identity
from tests.registry.conftest import registry_project

__all__ = ["identity"]  # a fixture
WHO: dict[str, Any] = {"identity": "", "ssh_from": (), "instances": Instances(),
                       "database_from": ("192.0.2.0/24",)}  # fmt: skip
PRIVATE: dict[str, Any] = {"database_access": "private", "database_from": ()}
AWS, AZURE = Naming("prod", "adult"), AzureNaming("0" * 36, "prod", "adult")
GOOGLE = GoogleNaming("proj", "prod", "adult")
FREE = {
    "aws": {
        "network", "gateway", "subnet", "routes", "firewall", "key", "role", "profile", "ci role",
        "database subnets", "listener", "template", "targets", "rule",
    },
    "azure": {
        "Microsoft.Resources/resourceGroups", "Microsoft.Network/virtualNetworks",
        "Microsoft.Network/networkSecurityGroups", "Microsoft.Network/networkInterfaces",
        "Microsoft.Network/privateDnsZones/virtualNetworkLinks",
        "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",
        "Microsoft.ManagedIdentity/userAssignedIdentities",
        "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
        "Microsoft.Authorization/roleAssignments",
        "Microsoft.DBforPostgreSQL/flexibleServers/administrators",
        "Microsoft.DBforPostgreSQL/flexibleServers/databases",
        "Microsoft.DBforPostgreSQL/flexibleServers/firewallRules",
        "Microsoft.Storage/storageAccounts/blobServices/containers",
        "Microsoft.Insights/autoscaleSettings",
    },
    "gcp": {
        "networks", "subnetworks", "firewalls", "serviceAccounts", "workloadIdentityPools",
        "workloadIdentityPoolProviders", "healthChecks", "backendServices", "urlMaps",
        "targetHttpProxies", "targetHttpsProxies", "instanceTemplates", "regionAutoscalers",
        "globalAddresses",  # of a balancer's port: that is paid for
    },
}  # fmt: skip
"""Kinds that cost nothing by being there."""
WATCHING = {
    "aws": {"alarm", "topic", "dashboard", "logs"},
    "azure": {
        "Microsoft.Insights/actionGroups", "Microsoft.Insights/metricAlerts",
        "Microsoft.Insights/workbooks",
    },
    "gcp": {"notificationChannels", "alertPolicies", "dashboards", "secrets"},
}  # fmt: skip
"""Alarms, dashboards, logs and secrets: of these a plan names no price, and the docs say so."""


def on_aws(region: str, **given: Any) -> tuple[Step, ...]:
    section = AwsSection(region=region, database="db.t4g.micro", **{**WHO, **given})
    parts = all_parts(AWS, section, Project()).values()
    return tuple(each.step(region) for each in parts)


def on_azure(region: str, **given: Any) -> tuple[Step, ...]:
    section = AzureSection(region=region, database="Standard_B1ms", **{**WHO, **given})
    parts = azure_parts(AZURE, section, Project()).values()
    return tuple(each.step("https://management.azure.com") for each in parts)


def on_google(zone: str, **given: Any) -> tuple[Step, ...]:
    section = GcpSection(zone=zone, database="db-custom-1-3840", **{**WHO, **given})
    return tuple(each.step() for each in google_parts(GOOGLE, section, Project()).values())


def monthly(steps: Sequence[Step]) -> dict[str, float | None]:
    return {each.id: each.price.monthly for each in steps if each.price is not None}


def plan(steps: Sequence[Step]) -> Plan:
    return Plan(deployment="prod", place="there", model="adult", version="1", release="1",
                steps=tuple(steps))  # fmt: skip


def test_balancers_databases_buckets_and_addresses_have_their_price() -> None:
    assert monthly(on_aws("us-east-1")) == {
        "aws-bucket": None,
        "aws-balancer": round(0.0225 * HOURS + 2 * 0.005 * HOURS, 2),  # an address in each zone
        "aws-database": round(0.016 * HOURS + 0.115 * 20 + 0.005 * HOURS, 2),
        "aws-store": None,
    }
    assert monthly(on_azure("eastus")) == {
        "azure-address": 3.65, "azure-out-address": 3.65, "azure-out": round(0.045 * HOURS, 2),
        "azure-gateway": round((0.246 + 20 * 0.008) * HOURS, 2), "azure-releases": None,
        "azure-database": round(0.017 * HOURS + 0.115 * 32, 2), "azure-store": None,
    }  # fmt: skip
    assert monthly(on_google("us-central1-a")) == {
        "gcp-bucket": None, "gcp-door": round(0.025 * HOURS, 2), "gcp-store": None,
        "gcp-database": round((0.0413 + 3.75 * 0.007) * HOURS + 0.17 * 10, 2),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("there", "nowhere"),
    [
        (on_aws("us-east-1"), on_aws("eu-north-1")),
        (on_azure("eastus"), on_azure("swedencentral")),
        (on_google("us-central1-a"), on_google("europe-north1-a")),
    ],
)
def test_what_the_table_does_not_cover_is_named_and_never_free(
    there: tuple[Step, ...], nowhere: tuple[Step, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(there).uncovered == ()
    assert {each.id for each in there if each.price} == set(plan(nowhere).uncovered)
    assert plan(nowhere).monthly == {}
    print_plan(plan(nowhere))
    said = capsys.readouterr().out
    assert " 0.00 " not in said
    for line in said.splitlines()[: len(nowhere)]:
        known = line.split()[1]
        assert ("price not covered" in line) == (known in plan(nowhere).uncovered), line
    assert "the price table does not cover " in said


def test_what_is_paid_by_use_alone_is_said_and_not_added_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = on_aws("us-east-1")
    print_plan(plan(steps))
    said = capsys.readouterr().out
    (bucket,) = [each for each in said.splitlines() if " aws-bucket " in each]
    assert bucket.endswith("  0.023 USD a gigabyte and month")
    known = [each for each in monthly(steps).values() if each is not None]
    assert plan(steps).monthly == {"USD": pytest.approx(sum(known))}
    assert f"about {sum(known):.2f} USD a month, besides traffic and other use" in said


def test_a_sum_of_which_a_part_is_unknown_is_unknown() -> None:
    known = price_of("aws", "eu-central-1", "balancer")
    assert known is not None
    assert together(known, known).monthly == round(2 * 0.027 * HOURS, 2)  # type: ignore[union-attr]
    assert together(known, price_of("aws", "eu-central-1", "database db.t4g.micro")) is None
    assert price_of("aws", "eu-central-1", "balancer", 20, of="database") is None
    assert stored("azure", "westeurope") is None


def test_the_table_is_of_a_day_and_every_kind_that_is_paid_for_is_one() -> None:
    assert datetime.date.fromisoformat(table().as_of) <= datetime.date.today()
    for regions in table().clouds.values():
        for prices in regions.values():
            assert all(each > 0 for each in (*prices.hourly.values(), *prices.gigabytes.values()))
    assert {each.lower() for each in PAID["azure"]} <= set(VERSIONS)
    assert PAID["gcp"] <= set(KINDS)


@pytest.mark.parametrize("fleet", [True, False])
@pytest.mark.parametrize(
    ("steps", "place", "uncovered"),
    [
        (on_aws, "us-east-1", ()),  # the database's own address is the private one
        (on_azure, "eastus", ("azure-database-zone", "azure-database-endpoint")),
        (on_google, "us-central1-a", ("gcp-database-endpoint",)),
    ],
)
def test_what_leads_to_a_private_database_is_named_where_no_price_is_known(
    steps: Callable[..., tuple[Step, ...]], place: str, uncovered: tuple[str, ...], fleet: bool,
    identity: str, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    alone = {"identity": identity, "ssh_from": ("192.0.2.0/24",), "instances": None}
    given = PRIVATE if fleet else {**PRIVATE, **alone}
    found = plan(steps(place, **given))
    assert found.uncovered == uncovered
    assert found.monthly["USD"] > 0
    print_plan(found)
    said = capsys.readouterr().out
    assert ("the price table does not cover " in said) == bool(uncovered)
    assert all(each in said.rpartition("does not cover ")[2] for each in uncovered)


def test_every_kind_is_priced_named_or_known_to_cost_nothing(
    identity: str, house: Path, versions: list[Trained], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("roadworthy.deploy.cloud.fleet_base.gather", _nothing)
    found: dict[str, set[str]] = {"aws": set(), "azure": set(), "gcp": set()}
    for part in _every_part(identity, registry_project(house), versions[0], tmp_path):
        if isinstance(part, Part):
            cloud, kind, step = "aws", part.kind, part.step("us-east-1")
        elif isinstance(part, AzureResource):
            cloud, kind, step = "azure", part.kind, part.step("https://management.azure.com")
        else:
            cloud, kind, step = "gcp", part.collection, part.step()
        found[cloud].add(kind)
        assert step.paid or not step.price, kind
        inside = kind == "addresses" and part.id == "gcp-database-address"
        assert step.paid == (kind in PAID[cloud] and not inside), kind
    for cloud, kinds in found.items():
        assert kinds == PAID[cloud] | FREE[cloud] | WATCHING[cloud], cloud


def _every_part(
    identity: str, project: Project, trained: Trained, folder: Path
) -> Iterator[Part | AzureResource | GoogleResource]:
    """Of machines and fleets, with a pipeline, and with databases that are public or private."""
    shared: dict[str, Any] = {
        "ci": Ci(system="github", repository="owner/repo", branch="main"),
        "notify": ("ops@example.org",),
    }
    alone = {**WHO, "identity": identity, "ssh_from": ("192.0.2.0/24",), "instances": None}
    key = {"certificate": "projects/proj/global/sslCertificates/api"}
    for given, more in ((alone, {}), (alone | PRIVATE, {}), (WHO, {}), (WHO | PRIVATE, key)):
        wanted = shared | given
        aws = AwsSection(region="us-east-1", database="db.t4g.micro", **wanted)
        yield from all_parts(AWS, aws, project).values()
        azure = AzureSection(region="eastus", database="Standard_B1ms", **wanted)
        yield from azure_parts(AZURE, azure, project).values()
        google = GcpSection(zone="us-central1-a", database="db-f1-micro", **wanted, **more)
        yield from google_parts(GOOGLE, google, project).values()
    with wanted_of(project, "prod", aws, trained.bundle) as release:
        assert release is not None
        yield from aws_release(AWS, aws, project, release, "0" * 12, folder, folder).parts
        yield from azure_release(AZURE, azure, project, release, folder, folder).parts
        yield from google_release(GOOGLE, google, project, release, folder, folder).parts


def _nothing(platform: Platform, folder: Path) -> Runtime:
    return Runtime(platform, "", ())
