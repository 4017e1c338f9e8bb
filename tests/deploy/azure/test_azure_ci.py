"""How a pipeline is let in on Azure: by an identity that trusts one subject."""

from __future__ import annotations

from typing import Any

import pytest

from roadworthy.deploy.azure.provider import AzureProvider
from roadworthy.project import AzureSection, Ci
from tests.deploy.azure import test_azure as machines
from tests.deploy.azure.arm_server import SUBSCRIPTION, Arm, Fault
from tests.deploy.azure.test_azure import GROUP, apply, arm, completed, destroy, identity, server

__all__ = ["arm", "identity", "server"]  # fixtures
GITHUB = Ci(system="github", repository="acme/churn", environment="production")
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/roadworthy-prod-ci"
PARTS = ["azure-ci", "azure-ci-trust", "azure-ci-right-reads", "azure-ci-right-locks"]
RIGHTS = "/providers/microsoft.authorization/roleassignments/"


def section(identity: str, ci: Ci | None = GITHUB) -> AzureSection:
    return machines.section(identity, ci=ci, alarms=False)


def provider(arm: Arm, wanted: AzureSection, name: str = "prod") -> AzureProvider:
    return machines.provider(arm, wanted, name)


def trusts(arm: Arm) -> list[dict[str, Any]]:
    return [each["properties"] for key, each in arm.things.items()
            if "/federatedidentitycredentials/" in key]  # fmt: skip


def rights(arm: Arm) -> list[dict[str, Any]]:
    return [each["properties"] for key, each in arm.things.items() if RIGHTS in key]


def test_the_identity_trusts_one_subject_and_is_made_once(arm: Arm, identity: str) -> None:
    one = provider(arm, section(identity))
    (trust,) = [each for each in one.steps() if each.id == "azure-ci-trust"]
    assert "repo:acme/churn:environment:production" in trust.what
    assert trust.command.startswith("az rest --method put")
    assert apply(one)[-4:] == PARTS
    assert apply(provider(arm, section(identity))) == []
    assert arm.refused == []
    assert [(each["subject"], each["issuer"], each["audiences"]) for each in trusts(arm)] == [
        ("repo:acme/churn:environment:production", "https://token.actions.githubusercontent.com",
         ["api://AzureADTokenExchange"])
    ]  # fmt: skip
    told = arm.things[IDENTITY.lower()]["properties"]
    assert {each["principalId"] for each in rights(arm)} == {told["principalId"]}
    assert provider(arm, section(identity)).observe().facts == {
        "machine": "running", "AZURE_CLIENT_ID": told["clientId"],
        "AZURE_TENANT_ID": told["tenantId"], "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
    }  # fmt: skip


def test_its_rights_are_to_look_and_to_hold_the_lock_and_end_at_the_group(
    arm: Arm, identity: str
) -> None:
    apply(provider(arm, section(identity)))
    reader, tags = "acdd72a7-3385-48ef-bd42-f606fba81ae7", "4a9ae827-6dc8-4573-8ac7-8239d42aa03f"
    given = {each["roleDefinitionId"].rpartition("/")[2] for each in rights(arm)}
    assert given == {reader, tags}
    assert all(key.startswith(f"{GROUP.lower()}/") for key in arm.things if RIGHTS in key)


def test_destroy_takes_it_away_and_leaves_the_others(arm: Arm, identity: str) -> None:
    apply(provider(arm, section(identity)))
    apply(provider(arm, section(identity), "other"))
    steps = [each.what for each in destroy(provider(arm, section(identity)))]
    removed = [place for place, what in enumerate(steps) if "roleAssignments" in what]
    assert max(removed) < next(
        place for place, what in enumerate(steps) if "userAssignedIdentities" in what
    )
    assert arm.things
    assert all("roadworthy-other" in key for key in arm.things)
    assert (len(trusts(arm)), len(rights(arm))) == (1, 2)


def test_whom_somebody_let_in_by_hand_is_seen_and_shut_out(arm: Arm, identity: str) -> None:
    apply(provider(arm, section(identity)))
    own = next(key for key in arm.things if "/federatedidentitycredentials/" in key)
    theirs = f"{IDENTITY}/federatedIdentityCredentials/theirs"
    arm.things[theirs.lower()] = {**arm.things[own], "id": theirs, "name": "theirs"}
    arm.things[own]["properties"] = {**arm.things[own]["properties"], "subject": "repo:acme/other"}
    found = provider(arm, section(identity)).observe()
    assert found.differences == {"azure-ci-trust": "properties.subject: repo:acme/other"}
    assert ["theirs" in each.what for each in found.surplus] == [True]
    apply(provider(arm, section(identity)))
    assert [each["subject"] for each in trusts(arm)] == ["repo:acme/churn:environment:production"]
    assert apply(provider(arm, section(identity))) == []


def test_an_identity_that_was_made_anew_gets_its_rights_again(arm: Arm, identity: str) -> None:
    apply(provider(arm, section(identity)))
    for key in [each for each in arm.things if each.startswith(IDENTITY.lower())]:
        del arm.things[key]
    apply(provider(arm, section(identity)))
    assert apply(provider(arm, section(identity))) == []
    told = arm.things[IDENTITY.lower()]["properties"]
    assert {each["principalId"] for each in rights(arm)} == {told["principalId"]}


def test_another_subject_takes_the_place_of_the_first(arm: Arm, identity: str) -> None:
    apply(provider(arm, section(identity)))
    other = Ci(system="gitlab", repository="acme/models/churn", branch="main")
    apply(provider(arm, section(identity, other)))
    assert [each["subject"] for each in trusts(arm)] == [
        "project_path:acme/models/churn:ref_type:branch:ref:main"
    ]
    assert apply(provider(arm, section(identity, other))) == []
    assert len(apply(provider(arm, section(identity, None)))) == 4
    assert (trusts(arm), rights(arm)) == ([], [])
    assert apply(provider(arm, section(identity, None))) == []


@pytest.mark.parametrize("fault", ["cut before", "cut after", "fault", "denied"])
def test_a_failure_at_every_call_leaves_nothing_double_and_a_rerun_completes(
    arm: Arm, identity: str, fault: Fault
) -> None:
    apply(provider(arm, section(identity, None)))
    before, seen = sorted(arm.things), set[tuple[str, str]]()

    def fail(method: str, path: str) -> Fault | None:
        if method == "GET" or (method, path) in seen:
            return None
        seen.add((method, path))
        return fault

    arm.fail = fail
    completed(lambda: apply(provider(arm, section(identity))))
    arm.fail = lambda method, path: None
    assert apply(provider(arm, section(identity))) == []
    assert len(arm.things) == len(before) + 4
    seen.clear()
    arm.fail = fail
    completed(lambda: apply(provider(arm, section(identity, None))))
    assert sorted(arm.things) == before
    arm.fail = lambda method, path: None
    apply(provider(arm, section(identity)))
    seen.clear()
    arm.fail = fail
    completed(lambda: destroy(provider(arm, section(identity))))
    assert arm.things == {}
