"""Everything of a deployment, found by its mark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from roadworthy.deploy._base import Tenant
from roadworthy.deploy.cloud.provider import DEPLOYMENT, MODEL
from roadworthy.deploy.gcp.account import Account
from roadworthy.deploy.gcp.ci import ACCOUNT as PIPELINE
from roadworthy.deploy.gcp.kinds import KINDS, POOLS, REGISTRY, is_of, segment
from roadworthy.deploy.gcp.resource import Naming, Thing, thing
from roadworthy.project import GcpSection

READER = "roles/storage.objectViewer"
STORE = "gcp-store"
"""The part that is the bucket of models."""
USER = "roles/iam.workloadIdentityUser"


def marked(
    account: Account, naming: Naming, collection: str, *, denied: bool = False
) -> list[Thing]:
    """What carries the deployment's mark in a collection.

    Args:
        account: Where the calls go.
        naming: The project and the deployment.
        collection: The collection.
        denied: Whether there is nothing for who may not look, and no error.
    """
    mine = [
        each for each in of_everybody(account, naming, collection, denied=denied)
        if each.marks[DEPLOYMENT] == naming.deployment
    ]  # fmt: skip
    for each in mine if collection == "buckets" else ():
        each.there["readers"] = readers(account, each.there["name"])
    for each in mine if collection == "secrets" else ():
        each.there["value"] = account.get("versions", name=f"{each.path}/versions/latest")
    for each in mine if collection == "serviceAccounts" else ():
        if each.part == PIPELINE:
            each.there["readers"] = users(account, each.path)
    return mine


def of_everybody(
    account: Account, naming: Naming, collection: str, *, denied: bool = False
) -> list[Thing]:
    """What carries any deployment's mark in a collection."""
    found = [thing(collection, each) for each in _listed(account, naming, collection, denied)]
    return [each for each in found if each.marks.get(DEPLOYMENT) and each.part]


def tenants(
    account: Account, naming: Naming, looked: Iterable[str], section: GcpSection
) -> tuple[Tenant, ...]:
    """Every deployment at a section's place; what is of no zone or region may be of any place."""
    found: dict[str, list[Thing]] = {}
    for collection in looked:
        for one in of_everybody(account, naming, collection, denied=collection in REGISTRY):
            found.setdefault(one.marks[DEPLOYMENT], []).append(one)
    return tuple(
        Tenant(
            deployment=name,
            model=next((each.marks[MODEL] for each in things if each.marks.get(MODEL)), ""),
            parts=tuple(sorted(each.path for each in things)),
        )
        for name, things in sorted(found.items())
        if not any(_elsewhere(each, section) for each in things)
    )


def _elsewhere(one: Thing, section: GcpSection) -> bool:
    """Whether something belongs to a machine of another zone, or to a fleet or none as this."""
    words = one.path.split("/")
    if one.collection in ("instances", "regionInstanceGroupManagers"):
        own = section.region if section.fleet else section.zone
        return words[3] != own
    if one.collection == "databaseInstances":
        return bool(one.there["region"] != section.region)
    return words[2] == "regions" and words[3] != section.region


def users(account: Account, path: str) -> list[str]:
    """Whose tokens open a service account."""
    policy = account.get("serviceAccounts", "getIamPolicy", resource=path) or {}
    found = [each for each in policy.get("bindings") or () if each["role"] == USER]
    return [member for each in found for member in each.get("members") or ()]


def readers(account: Account, bucket: str) -> list[str]:
    """Who may read what is in a bucket."""
    policy = account.get("buckets", "getIamPolicy", bucket=bucket) or {}
    found = [each for each in policy.get("bindings") or () if each["role"] == READER]
    return [member for each in found for member in each.get("members") or ()]


def _listed(
    account: Account, naming: Naming, collection: str, denied: bool
) -> list[dict[str, Any]]:
    kind, project = KINDS[collection], naming.project
    if collection == "objects":
        return [
            each
            for bucket in marked(account, naming, "buckets")
            if bucket.part != STORE  # models are looked at by nobody
            for page in account.listed("objects", "list", bucket=bucket.there["name"])
            for each in page.get("items") or ()
        ]
    if collection in POOLS:
        return list(_pools(account, naming, collection))
    if kind.scope == "project":
        key = "accounts" if is_of(collection, "iam") else collection
        # a machine has an account only for a pipeline: who may not look has none
        asked = {owner_word(collection): f"projects/{project}"}
        denied = denied or is_of(collection, "iam")
        pages = account.listed(collection, "list", denied=denied, **asked)
        return [each for page in pages for each in page.get(key) or ()]
    if kind.scope in ("global", "bucket"):
        pages = account.listed(collection, "list", denied=denied, project=project)
        return [each for page in pages for each in page.get("items") or ()]
    return _everywhere(account, collection, project)


def owner_word(collection: str) -> str:
    """The parameter that names the project of a collection."""
    return "parent" if collection in ("dashboards", "secrets") else "name"


def _pools(account: Account, naming: Naming, collection: str) -> Iterator[dict[str, Any]]:
    """Pools, or the providers of the deployment's; Google calls them by the project's number."""
    parents = [f"projects/{naming.project}/locations/global"]
    if collection != "workloadIdentityPools":
        parents = [each.path for each in marked(account, naming, "workloadIdentityPools")]
    for parent in parents:
        for page in account.listed(collection, "list", denied=True, parent=parent):
            for each in page.get(collection) or ():
                path = f"projects/{naming.project}/{each['name'].split('/', 2)[2]}"
                yield {**each, "called": each["name"], "name": path}


def _everywhere(account: Account, collection: str, project: str) -> list[dict[str, Any]]:
    """Of all zones or regions; what is of none of them is another collection's."""
    word = segment(collection)
    owner = {"regionInstanceGroupManagers": "instanceGroupManagers",
             "regionAutoscalers": "autoscalers"}.get(collection, collection)  # fmt: skip
    return [
        each
        for page in account.listed(owner, "aggregatedList", project=project)
        for scope, inside in (page.get("items") or {}).items()
        for each in inside.get(word) or ()
        if scope != "global"
    ]


def place_of(collection: str, path: str) -> dict[str, Any]:
    """The parameters that name a thing by its path."""
    kind, words = KINDS[collection], path.split("/")
    if kind.scope == "project":
        return {"name": path}
    if kind.scope == "bucket":
        named: dict[str, Any] = {"bucket": words[1]}
        return named if collection == "buckets" else named | {"object": path.split("/", 3)[3]}
    found: dict[str, Any] = {"project": words[1], kind.singular: words[-1]}
    if words[2] in ("zones", "regions"):
        found[words[2].removesuffix("s")] = words[3]
    return found
