"""What a plan says of its price: what the table covers, what it does not, what is paid by use."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import pytest

from roadworthy.cli.deploy.options import print_plan
from roadworthy.deploy.aws.part import Naming
from roadworthy.deploy.aws.parts import all_parts
from roadworthy.deploy.azure.fleet.wanted import fleet_parts as azure_parts
from roadworthy.deploy.azure.resource import VERSIONS
from roadworthy.deploy.azure.resource import Naming as AzureNaming
from roadworthy.deploy.cloud.prices import HOURS, PAID, price_of, stored, table, together
from roadworthy.deploy.gcp.fleet.wanted import fleet_parts as google_parts
from roadworthy.deploy.gcp.kinds import KINDS
from roadworthy.deploy.gcp.registry import registry_parts
from roadworthy.deploy.gcp.resource import Naming as GoogleNaming
from roadworthy.deploy.plan import Plan, Step
from roadworthy.project import AwsSection, AzureSection, GcpSection, Instances, Project

WHO: dict[str, Any] = {"identity": "", "ssh_from": (), "instances": Instances(),
                       "database_from": ("192.0.2.0/24",)}  # fmt: skip


def on_aws(region: str) -> tuple[Step, ...]:
    section = AwsSection(region=region, database="db.t4g.micro", **WHO)
    parts = all_parts(Naming("prod", "adult"), section, Project()).values()
    return tuple(each.step(region) for each in parts)


def on_azure(region: str) -> tuple[Step, ...]:
    section = AzureSection(region=region, database="Standard_B1ms", **WHO)
    parts = azure_parts(AzureNaming("0" * 36, "prod", "adult"), section, Project())
    return tuple(each.step("https://management.azure.com") for each in parts)


def on_google(zone: str) -> tuple[Step, ...]:
    section = GcpSection(zone=zone, database="db-custom-1-3840", **WHO)
    naming = GoogleNaming("proj", "prod", "adult")
    parts = google_parts(naming, section, Project()) + registry_parts(naming, section)
    return tuple(each.step() for each in parts)


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
