"""The kinds of things that are made in Google Cloud, and how each is named and listed there."""

from __future__ import annotations

from typing import Literal, NamedTuple

Scope = Literal["global", "regional", "zonal", "project", "bucket"]


class Kind(NamedTuple):
    """A collection, as Google's client names it.

    Attributes:
        api: Name and version of the interface.
        singular: The parameter that names one of it.
        scope: What its things belong to, which is how they are listed.
        segment: Its word in paths, where that is another.
        client: Its word in Google's client, where that is another.
    """

    api: Literal[
        "compute.v1",
        "monitoring.v3",
        "iam.v1",
        "storage.v1",
        "sqladmin.v1",
        "secretmanager.v1",
        "monitoring.v1",
    ]
    singular: str
    scope: Scope
    segment: str = ""
    client: str = ""


KINDS = {
    "databaseInstances": Kind("sqladmin.v1", "instance", "global", "instances", "instances"),
    "secrets": Kind("secretmanager.v1", "name", "project"),
    "serviceAccounts": Kind("iam.v1", "name", "project"),
    "workloadIdentityPools": Kind("iam.v1", "name", "project"),
    "workloadIdentityPoolProviders": Kind("iam.v1", "name", "project", "providers"),
    "buckets": Kind("storage.v1", "bucket", "bucket"),
    "objects": Kind("storage.v1", "object", "bucket"),
    "networks": Kind("compute.v1", "network", "global"),
    "subnetworks": Kind("compute.v1", "subnetwork", "regional"),
    "firewalls": Kind("compute.v1", "firewall", "global"),
    "addresses": Kind("compute.v1", "address", "regional"),
    "forwardingRules": Kind("compute.v1", "forwardingRule", "regional"),
    "instances": Kind("compute.v1", "instance", "zonal"),
    "globalAddresses": Kind("compute.v1", "address", "global", "addresses"),
    "securityPolicies": Kind("compute.v1", "securityPolicy", "global"),
    "healthChecks": Kind("compute.v1", "healthCheck", "global"),
    "instanceTemplates": Kind("compute.v1", "instanceTemplate", "global"),
    "regionInstanceGroupManagers": Kind(
        "compute.v1", "instanceGroupManager", "regional", "instanceGroupManagers"
    ),
    "regionAutoscalers": Kind("compute.v1", "autoscaler", "regional", "autoscalers"),
    "backendServices": Kind("compute.v1", "backendService", "global"),
    "urlMaps": Kind("compute.v1", "urlMap", "global"),
    "targetHttpProxies": Kind("compute.v1", "targetHttpProxy", "global"),
    "targetHttpsProxies": Kind("compute.v1", "targetHttpsProxy", "global"),
    "globalForwardingRules": Kind(
        "compute.v1", "forwardingRule", "global", "forwardingRules"
    ),
    "notificationChannels": Kind("monitoring.v3", "name", "project"),
    "alertPolicies": Kind("monitoring.v3", "name", "project"),
    "dashboards": Kind("monitoring.v1", "name", "project"),
}  # fmt: skip
"""Collection -> its kind, in the order in which things are made."""
MACHINE = (
    "networks", "subnetworks", "firewalls", "addresses", "instances", "notificationChannels",
    "alertPolicies", "dashboards",
)  # fmt: skip
"""What a single machine has."""
REGISTRY = ("databaseInstances", "secrets", "buckets")
"""What a registry has."""
POOLS = ("workloadIdentityPools", "workloadIdentityPoolProviders")
"""What stays for 30 days after it was deleted, and can be had back."""
CI = ("serviceAccounts", *POOLS)
"""What a pipeline has."""


def segment(collection: str) -> str:
    """A collection's word in paths."""
    return KINDS[collection].segment or collection


def is_of(collection: str, *apis: str) -> bool:
    """Whether a collection belongs to one of some interfaces, `compute` and the like."""
    return KINDS[collection].api.partition(".")[0] in apis
