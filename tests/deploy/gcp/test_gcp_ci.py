"""How a pipeline is let in on Google Cloud: by an account that one subject's tokens open."""

from __future__ import annotations

from typing import Any

import pytest

from roadworthy.deploy.gcp.provider import GcpProvider
from roadworthy.errors import InputError
from roadworthy.project import Ci, GcpSection
from tests.deploy.gcp import test_gcp as machines
from tests.deploy.gcp.google_server import PROJECT, Fault, Google
from tests.deploy.gcp.test_gcp import apply, completed, destroy, google, identity, server
from tests.deploy.gcp.trusting import NUMBER

__all__ = ["google", "identity", "server"]  # fixtures
GITHUB = Ci(system="github", repository="acme/churn", environment="production")
SUBJECT = "repo:acme/churn:environment:production"
POOL = f"projects/{PROJECT}/locations/global/workloadIdentityPools/rw-6754af96-ci"
PROVIDER = f"{POOL}/providers/pipeline"
ACCOUNT = f"projects/{PROJECT}/serviceAccounts/rw-6754af96-ci@{PROJECT}.iam.gserviceaccount.com"
PARTS = ["gcp-ci-pool", "gcp-ci-provider", "gcp-ci-account"]
MEMBER = f"principal://iam.googleapis.com/{POOL.replace(PROJECT, NUMBER, 1)}/subject/{SUBJECT}"
READS = ("get", "list", "aggregatedList", "getIamPolicy")


@pytest.fixture(autouse=True)
def _nothing_was_deleted(server: Google) -> None:
    server.trusting.deleted.clear()


def section(identity: str, ci: Ci | None = GITHUB) -> GcpSection:
    return machines.section(identity, ci=ci, alarms=False)


def provider(google: Google, wanted: GcpSection, name: str = "prod") -> GcpProvider:
    return machines.provider(google, wanted, name)


def members(google: Google) -> list[str]:
    (binding,) = google.things[ACCOUNT]["policy"]["bindings"]
    assert binding["role"] == "roles/iam.workloadIdentityUser"
    return list(binding["members"])


def test_the_account_is_opened_by_one_subject_and_made_once(google: Google, identity: str) -> None:
    one = provider(google, section(identity))
    last = next(each for each in one.steps() if each.id == "gcp-ci-account")
    assert "gcloud iam service-accounts add-iam-policy-binding" in last.command
    assert apply(one)[-3:] == PARTS
    assert apply(provider(google, section(identity))) == []
    assert google.refused == []
    made = google.things[PROVIDER]
    assert made["oidc"] == {"issuerUri": "https://token.actions.githubusercontent.com"}
    assert made["attributeCondition"] == f"assertion.sub == '{SUBJECT}'"
    assert made["attributeMapping"] == {"google.subject": "assertion.sub"}
    assert members(google) == [MEMBER]
    facts = provider(google, section(identity)).observe().facts
    assert facts["GCP_IDENTITY_PROVIDER"] == PROVIDER.replace(PROJECT, NUMBER, 1)
    assert facts["GCP_SERVICE_ACCOUNT"] == ACCOUNT.rpartition("/")[2]


def test_whom_somebody_let_in_by_hand_is_seen_and_shut_out(google: Google, identity: str) -> None:
    apply(provider(google, section(identity)))
    stranger = MEMBER.replace("acme/churn", "acme/other")
    google.things[ACCOUNT]["policy"]["bindings"][0]["members"].append(stranger)
    google.things[PROVIDER]["attributeCondition"] = "true"
    found = provider(google, section(identity)).observe()
    assert set(found.differences) == {"gcp-ci-provider", "gcp-ci-account"}
    assert (
        "acme/other:environment:production may use it, too" in found.differences["gcp-ci-account"]
    )
    assert apply(provider(google, section(identity))) == PARTS[1:]
    assert members(google) == [MEMBER]
    assert apply(provider(google, section(identity))) == []


def test_another_subject_takes_the_place_of_the_first(google: Google, identity: str) -> None:
    apply(provider(google, section(identity)))
    other = Ci(system="gitlab", repository="acme/models/churn", branch="main")
    assert apply(provider(google, section(identity, other))) == PARTS[1:]
    assert google.things[PROVIDER]["oidc"] == {"issuerUri": "https://gitlab.com"}
    assert [each.rpartition("/subject/")[2] for each in members(google)] == [
        "project_path:acme/models/churn:ref_type:branch:ref:main"
    ]
    assert apply(provider(google, section(identity, other))) == []


def test_it_goes_with_the_section_and_comes_back_although_its_name_is_held(
    google: Google, identity: str
) -> None:
    apply(provider(google, section(identity)))
    assert len(apply(provider(google, section(identity, None)))) == 3
    assert {POOL, PROVIDER} <= set(google.trusting.deleted)
    assert ACCOUNT not in google.things
    assert apply(provider(google, section(identity, None))) == []
    assert apply(provider(google, section(identity))) == PARTS
    assert apply(provider(google, section(identity))) == []
    assert members(google) == [MEMBER]


def test_a_pool_of_that_name_which_is_yours_is_left_alone(google: Google, identity: str) -> None:
    google.things[POOL] = {"displayName": "mine", "description": "mine"}
    with pytest.raises(InputError, match="was not made by Roadworthy"):
        apply(provider(google, section(identity)))
    destroy(provider(google, section(identity)))
    assert list(google.things) == [POOL]


def test_destroy_takes_it_away_and_leaves_the_others(google: Google, identity: str) -> None:
    apply(provider(google, section(identity)))
    own = set(google.things)
    apply(provider(google, section(identity), "other"))
    others = google.things.keys() - own
    destroy(provider(google, section(identity)))
    assert google.things.keys() == others
    assert sum("/workloadIdentityPools/" in each for each in others) == 2


def test_who_may_not_look_at_accounts_can_deploy_a_machine(google: Google, identity: str) -> None:
    def fail(method: str, path: str, body: Any) -> Fault | None:
        return "denied" if method.startswith("iam.") else None

    google.fail = fail
    apply(provider(google, section(identity, None)))
    assert apply(provider(google, section(identity, None))) == []


def test_a_subject_that_google_would_not_take_is_refused_before(
    google: Google, identity: str
) -> None:
    long = Ci(system="gitlab", repository=f"acme/{'x' * 120}", branch="main")
    with pytest.raises(InputError, match="at most 127 bytes"):
        provider(google, section(identity, long))


@pytest.mark.parametrize("fault", ["cut before", "cut after", "fault", "denied"])
def test_a_failure_at_every_call_leaves_nothing_double_and_a_rerun_completes(
    google: Google, identity: str, fault: Fault
) -> None:
    apply(provider(google, section(identity, None)))
    before, seen = sorted(google.things), set[tuple[str, str]]()

    def fail(method: str, path: str, body: Any) -> Fault | None:
        if method.rpartition(".")[2] in READS or (method, path) in seen:
            return None
        seen.add((method, path))
        return fault

    google.fail = fail
    completed(lambda: apply(provider(google, section(identity))))
    google.fail = lambda method, path, body: None
    assert apply(provider(google, section(identity))) == []
    assert len(google.things) == len(before) + 3
    assert members(google) == [MEMBER]
    seen.clear()
    google.fail = fail
    completed(lambda: apply(provider(google, section(identity, None))))
    assert sorted(google.things) == before
    assert len(seen) >= 3
