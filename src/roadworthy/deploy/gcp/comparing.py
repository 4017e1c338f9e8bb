"""What of a resource is other than wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roadworthy.deploy.cloud.comparing import differences
from roadworthy.deploy.cloud.filling import fill
from roadworthy.deploy.gcp.resource import Resource

_NOT_SHOWN = ("description", "disks", "metadata", "networkInterfaces", "tags")
"""What an instance gives back in another form."""
_MOVING = {
    "globalForwardingRules": "IPAddress",
    "forwardingRules": "IPAddress",
    "regionInstanceGroupManagers": "targetSize",
}
"""What is given back in another form, or moves by itself."""
STATES = ("RUNNING", "PROVISIONING", "STAGING")


def told(items: Any) -> dict[str, str]:
    """Metadata as names and values."""
    return {each["key"]: str(each.get("value", "")) for each in items or ()}


def outside(instance: Mapping[str, Any]) -> dict[str, Any]:
    """How an instance's first interface is reached from outside; empty: it is not."""
    for interface in instance.get("networkInterfaces") or ():
        for each in interface.get("accessConfigs") or ():
            return dict(each)
    return {}


def differs(part: Resource, there: Mapping[str, Any], known: Mapping[str, str]) -> list[str]:
    """What is other than wanted, in words.

    Args:
        part: What is wanted.
        there: What Google says of it, addresses of resources beginning with `projects/`.
        known: Values for `${…}`.
    """
    try:
        body = fill(part.body, known)
    except KeyError:
        return ["what it belongs to is not there"]
    if part.collection == "instanceTemplates":
        return []  # nobody can change one, and its name holds a digest of it
    if part.collection == "serviceAccounts":
        given = there.get("readers", ())
        wanted = fill(list(part.readers), known)
        said = [f"{each} may not use it" for each in wanted if each not in given]
        said += [f"{each} may use it, too" for each in given if each not in wanted]
        return said + (["it is disabled"] if there.get("disabled") else [])
    if part.collection == "buckets":
        given = there.get("readers", ())
        lacking = [f"{each} may not read it" for each in part.readers if each not in given]
        return differences(body, there) + lacking
    if part.collection == "secrets":
        return [] if there.get("value") else ["it holds nothing"]
    if part.collection == "databaseInstances":
        grown = {key: value for key, value in body["settings"].items() if key != "dataDiskSizeGb"}
        state = there.get("state")
        said = differences(body | {"settings": grown}, there)
        return said if state == "RUNNABLE" else [*said, f"it is {state}"]
    if part.collection in _MOVING:
        body = {key: value for key, value in body.items() if key != _MOVING[part.collection]}
    if part.collection != "instances":
        return differences({k: v for k, v in body.items() if k != "description"}, there)
    said = differences({k: v for k, v in body.items() if k not in _NOT_SHOWN}, there)
    items = told((there.get("metadata") or {}).get("items"))
    said += [
        f"metadata {key}: {items.get(key, 'absent')}"
        for key, value in told(body["metadata"]["items"]).items()
        if items.get(key) != value
    ]
    said += differences(body["tags"], there.get("tags"), "tags")
    wanted, given = body["networkInterfaces"][0], (there.get("networkInterfaces") or [{}])[0]
    said += differences(wanted["subnetwork"], given.get("subnetwork"), "subnetwork")
    said += differences(outside(body)["natIP"], outside(there).get("natIP"), "address")
    if there.get("status") not in STATES:
        said.append(f"it is {there.get('status')}")
    return said
