"""A private address for a database: an endpoint of Private Service Connect in the network.

The database publishes a service attachment, and a forwarding rule leads to it from an address of
the subnet (https://cloud.google.com/sql/docs/postgres/configure-private-service-connect).
"""

from __future__ import annotations

from typing import Any

from roadworthy.deploy.gcp.resource import Naming, Resource, by_hand
from roadworthy.deploy.gcp.wanted import SUBNET, network_path, subnet_path
from roadworthy.project import GcpSection

ADDRESS, ENDPOINT = "gcp-database-address", "gcp-database-endpoint"
ATTACHMENT = "gcp-database-attachment"
"""What `${…}` names the database's service attachment by, which Google makes up."""


def private_parts(naming: Naming, section: GcpSection, database: Resource) -> tuple[Resource, ...]:
    """Address and endpoint; nothing for a public address.

    Args:
        naming: Names and marks.
        section: `[deploy.NAME]`.
        database: The database.
    """
    if section.database_access == "public":
        return ()
    name, subnet = f"{naming.name}-database", () if section.subnet else (SUBNET,)
    network = f"${{{SUBNET}-network}}" if section.subnet else network_path(naming)
    address = {"name": name, "addressType": "INTERNAL", "purpose": "GCE_ENDPOINT",
               "subnetwork": subnet_path(naming, section)}  # fmt: skip
    rule = {
        "name": name, "IPAddress": f"${{{ADDRESS}}}", "network": network,
        "target": f"${{{ATTACHMENT}}}", "allowPscGlobalAccess": True,
    }  # fmt: skip
    return (
        _part(naming, section, ADDRESS, "addresses", "a private address, in the network", address,
              subnet),
        _part(naming, section, ENDPOINT, "forwardingRules", "which leads to the database", rule,
              (ADDRESS, database.id)),
    )  # fmt: skip


def _part(
    naming: Naming, section: GcpSection, name: str, collection: str, what: str,
    body: dict[str, Any], needs: tuple[str, ...],
) -> Resource:  # fmt: skip
    parent = f"projects/{naming.project}/regions/{section.region}"
    marked = {**body, "description": naming.mark(name)}
    url = f"https://compute.googleapis.com/compute/v1/{parent}/{collection}"
    return Resource(
        id=name, what=what, collection=collection, parent=parent, body=marked, needs=needs,
        command=by_hand(url, marked),
    )  # fmt: skip
