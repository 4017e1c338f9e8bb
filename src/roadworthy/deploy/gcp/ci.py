"""How a pipeline signs in: a service account that one subject's tokens open."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from roadworthy.deploy.cloud.trust import Trusted, google_condition, trusted
from roadworthy.deploy.gcp.resource import Naming, Resource, Thing, by_hand
from roadworthy.errors import InputError
from roadworthy.project import GcpSection

POOL, PROVIDER, ACCOUNT = "gcp-ci-pool", "gcp-ci-provider", "gcp-ci-account"
NUMBER = f"{POOL}.number"
"""What `${…}` names the project's number by, which pools say."""
_LONGEST = 127
"""Bytes of a subject that Google takes."""


def ci_parts(naming: Naming, section: GcpSection, short: str) -> tuple[Resource, ...]:
    """Pool, provider and account; nothing where none are asked for.

    Args:
        naming: Names and marks.
        section: `[deploy.NAME]`.
        short: A name of a few letters that only the deployment has in its project.

    Raises:
        InputError: The subject is longer than Google takes.
    """
    if section.ci is None:
        return ()
    whom = trusted(section.ci)
    if len(whom.subject.encode()) > _LONGEST:
        raise InputError(
            f"Google takes subjects of at most {_LONGEST} bytes: {whom.subject}",
            where=f"deploy.{naming.deployment}.ci", fix="a repository of a shorter name",
        )  # fmt: skip
    parent = f"projects/{naming.project}/locations/global"
    pool = f"{parent}/workloadIdentityPools/{short}-ci"
    return (
        _pool(naming, parent, f"{short}-ci"), _provider(naming, pool, whom),
        _account(naming, pool, f"{short}-ci", whom),
    )  # fmt: skip


def _pool(naming: Naming, parent: str, name: str) -> Resource:
    body = {"description": naming.mark(POOL), "displayName": naming.name[:32], "disabled": False}
    url = f"https://iam.googleapis.com/v1/{parent}/workloadIdentityPools?workloadIdentityPoolId="
    return Resource(
        id=POOL, what="a pool of identities for the pipeline", parent=parent, name=name, body=body,
        collection="workloadIdentityPools", command=by_hand(f"{url}{name}", body),
    )  # fmt: skip


def _provider(naming: Naming, pool: str, whom: Trusted) -> Resource:
    body = {
        "description": naming.mark(PROVIDER), "displayName": "Roadworthy", "disabled": False,
        # without a list of audiences it takes its own name alone
        "oidc": {"issuerUri": whom.issuer},
        "attributeMapping": {"google.subject": "assertion.sub"},
        "attributeCondition": google_condition(whom),
    }  # fmt: skip
    url = f"https://iam.googleapis.com/v1/{pool}/providers?workloadIdentityPoolProviderId=pipeline"
    return Resource(
        id=PROVIDER, what=f"whom it is for: {whom.subject} of {whom.issuer} alone", parent=pool,
        name="pipeline", body=body, collection="workloadIdentityPoolProviders", needs=(POOL,),
        command=by_hand(url, body),
    )  # fmt: skip


def _account(naming: Naming, pool: str, name: str, whom: Trusted) -> Resource:
    parent, domain = f"projects/{naming.project}", naming.project.split(":")
    body = {
        "accountId": name,
        "serviceAccount": {
            "displayName": f"{naming.name} pipeline", "description": naming.mark(ACCOUNT),
        },
    }  # fmt: skip
    mail = f"{name}@{'.'.join(reversed(domain))}.iam.gserviceaccount.com"
    place = pool.replace(f"projects/{naming.project}/", f"projects/${{{NUMBER}}}/", 1)
    member = f"principal://iam.googleapis.com/{place}/subject/{whom.subject}"
    bound = ["gcloud", "iam", "service-accounts", "add-iam-policy-binding", mail,
             f"--project={naming.project}", "--role=roles/iam.workloadIdentityUser",
             f"--member={member}"]  # fmt: skip
    made = by_hand(f"https://iam.googleapis.com/v1/{parent}/serviceAccounts", body)
    return Resource(
        id=ACCOUNT, what=f"an account that the pipeline acts as, and {whom.subject} alone may",
        parent=parent, collection="serviceAccounts", body=body, name=mail, readers=(member,),
        command=f"{made} && {shlex.join(bound)}", needs=(POOL, PROVIDER),
    )  # fmt: skip


def variables(found: Mapping[str, Thing]) -> dict[str, str]:
    """What the pipeline's environment must hold.

    Args:
        found: Part -> what is there.
    """
    if not {PROVIDER, ACCOUNT} <= found.keys():
        return {}
    return {
        "GCP_IDENTITY_PROVIDER": str(found[PROVIDER].there["called"]),
        "GCP_SERVICE_ACCOUNT": str(found[ACCOUNT].there["email"]),
    }


def number_of(pool: Thing) -> str:
    """The project's number, by which Google calls a pool."""
    return str(pool.there["called"]).split("/")[1]
