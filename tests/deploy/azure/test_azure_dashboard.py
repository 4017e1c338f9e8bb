"""The dashboard of a deployment on Azure: what alarms look at, and from where they ring."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.deploy.azure.account import Account
from roadworthy.deploy.azure.fleet.provider import FleetProvider
from roadworthy.deploy.azure.provider import AzureProvider
from roadworthy.deploy.azure.resource import Naming
from roadworthy.deploy.plan import redone
from roadworthy.monitor.alarms import alarm_list
from roadworthy.project import AzureSection, Instances, Project
from tests.deploy.azure.arm_server import SUBSCRIPTION, Arm, Fault
from tests.deploy.azure.test_azure import (
    GROUP,
    MACHINE,
    Token,
    apply,
    arm,
    completed,
    destroy,
    identity,
    provider,
    section,
    server,
)
from tests.deploy.azure.test_azure_registry import Person

__all__ = ["arm", "identity", "server"]  # fixtures
GATEWAY = f"{GROUP}/providers/Microsoft.Network/applicationGateways/roadworthy-prod"


def boards(arm: Arm) -> list[dict[str, Any]]:
    return [each for each in arm.things.values() if each["type"] == "Microsoft.Insights/workbooks"]


def charts(board: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Name of each chart -> what it shows."""
    content = json.loads(board["properties"]["serializedData"])
    return {each["name"]: each["content"] for each in content["items"] if each["type"] == 10}


def text(board: dict[str, Any]) -> str:
    """What stands above the charts."""
    content = json.loads(board["properties"]["serializedData"])
    (found,) = [each["content"]["json"] for each in content["items"] if each["type"] == 1]
    return str(found)


def fleet(arm: Arm, **values: Any) -> FleetProvider:
    wanted = AzureSection(region="westeurope", instances=Instances(), **values)
    account = Account(SUBSCRIPTION, Person(), wanted.place, arm.url, pause=0)
    return FleetProvider(Naming(SUBSCRIPTION, "prod", "adult"), wanted, Project(), account)


def test_it_shows_what_every_alarm_looks_at_and_from_where_it_rings(
    arm: Arm, identity: str
) -> None:
    apply(provider(arm, section(identity)))
    assert apply(provider(arm, section(identity))) == []
    assert arm.refused == []
    (board,) = boards(arm)
    assert board["properties"]["displayName"] == "roadworthy-prod"
    shown = charts(board)
    names = {each.name for each in alarm_list(Project().monitor)}
    assert shown.keys() == names | {"roadworthy_quality", "roadworthy_quality_estimated"}
    assert all(each["resourceIds"] == [MACHINE] for each in shown.values())
    # what is drawn is what the alarm of the same name goes by
    alarms = {
        each["properties"]["criteria"]["allOf"][0]["name"]:
        each["properties"]["criteria"]["allOf"][0] for each in arm.things.values()
        if each["type"].endswith("/metricAlerts")
    }  # fmt: skip
    assert set(alarms) == {"cpu", "memory"}
    for name, criterion in alarms.items():
        (metric,) = shown[name]["metrics"]
        assert metric["metric"].endswith(f"--{criterion['metricName']}")
        assert metric["aggregation"] == 4
        assert shown[name]["title"].endswith(f" {criterion['threshold']:g}")
    (latency,) = shown["latency"]["metrics"]
    assert latency["filters"] == [{"key": "model", "operator": 0, "values": ["adult"]}]
    assert all(f"| {name} |" in text(board) for name in names)


def test_that_of_a_fleet_shows_what_the_gateway_counts(arm: Arm) -> None:
    apply(fleet(arm))
    assert apply(fleet(arm)) == []
    assert arm.refused == []
    (board,) = boards(arm)
    shown = charts(board)
    assert {name: each["metrics"][0]["metric"].partition("--")[2] for name, each in
            shown.items()} == {
        "down": "HealthyHostCount", "errors": "FailedRequests",
        "latency": "ApplicationGatewayTotalTime", "no_traffic": "TotalRequests",
    }  # fmt: skip
    assert all(each["resourceIds"] == [GATEWAY] for each in shown.values())
    # machines come and go with releases: what to do is said, and nothing is drawn
    assert all(f"| {name} |" in text(board) for name in (*shown, "cpu", "memory"))
    assert apply(fleet(arm, alarms=False))
    assert boards(arm) == []


def test_what_was_changed_by_hand_is_seen_and_mended(arm: Arm, identity: str) -> None:
    apply(provider(arm, section(identity)))
    (board,) = boards(arm)
    wanted = board["properties"]["serializedData"]
    content = json.loads(wanted)
    # another form of the same text is the same
    board["properties"]["serializedData"] = json.dumps(content, indent=2)
    assert provider(arm, section(identity)).observe().differences == {}
    content["items"].pop()
    board["properties"]["serializedData"] = json.dumps(content)
    board["properties"]["displayName"] = "mine"
    one = provider(arm, section(identity))
    found = one.observe()
    assert found.differences == {
        "azure-dashboard": "properties.displayName: mine, it shows something else"
    }
    steps = [each.id for each in redone(one.steps(), found.steps) if each.change == "create"]
    assert steps == ["azure-dashboard"]
    assert apply(provider(arm, section(identity))) == ["azure-dashboard"]
    (board,) = boards(arm)
    assert board["properties"]["serializedData"] == wanted
    board["properties"]["serializedData"] = "no JSON {"
    assert apply(provider(arm, section(identity))) == ["azure-dashboard"]


def test_without_alarms_it_is_removed_and_destroy_takes_it_away(arm: Arm, identity: str) -> None:
    apply(provider(arm, section(identity)))
    without = section(identity, alarms=False)
    assert any("workbooks" in each.what for each in provider(arm, without).observe().surplus)
    apply(provider(arm, without))
    assert boards(arm) == []
    apply(provider(arm, section(identity)))
    assert any("workbooks" in each.what for each in destroy(provider(arm, section(identity))))
    assert arm.things == {}


@pytest.mark.parametrize("fault", ["cut before", "cut after", "fault", "denied"])
def test_a_failure_at_its_calls_leaves_one_and_a_rerun_completes(
    arm: Arm, identity: str, fault: Fault
) -> None:
    apply(provider(arm, section(identity, alarms=False)))
    seen: set[str] = set()

    def fail(method: str, path: str) -> Fault | None:
        if method not in ("PUT", "DELETE") or "/workbooks/" not in path or method in seen:
            return None
        seen.add(method)
        return fault

    arm.fail = fail
    completed(lambda: apply(provider(arm, section(identity))))
    assert apply(provider(arm, section(identity))) == []
    assert len(boards(arm)) == 1
    completed(lambda: destroy(provider(arm, section(identity))))
    assert arm.things == {}
    assert seen == {"PUT", "DELETE"}


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(runbook=st.text(st.sampled_from('|"\\{}$ä/'), max_size=12))
def test_texts_of_yours_stay_texts(arm: Arm, identity: str, runbook: str) -> None:
    arm.things.clear()
    arm.refused.clear()
    place = f"https://example.org/{runbook}"
    told = Project().override("monitor", runbook=place)
    account = Account(SUBSCRIPTION, Token(), "azure", arm.url, pause=0)
    naming = Naming(SUBSCRIPTION, "prod", "adult")
    wanted = section(identity)

    def one() -> AzureProvider:
        return AzureProvider(naming, wanted, told, account)

    apply(one())
    assert arm.refused == []
    (board,) = boards(arm)
    assert msgspec.json.decode(board["properties"]["serializedData"])["version"] == "Notebook/1.0"
    assert apply(one()) == []
