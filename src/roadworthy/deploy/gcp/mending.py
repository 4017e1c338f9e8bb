"""How what is there is made as wanted, where Google can change it in place."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from roadworthy.deploy.gcp.account import Account
from roadworthy.deploy.gcp.comparing import outside, told
from roadworthy.deploy.gcp.kinds import KINDS, POOLS, is_of
from roadworthy.deploy.gcp.listing import READER, USER, readers
from roadworthy.deploy.gcp.resource import Resource, Thing
from roadworthy.errors import InputError

_PATCHED = ("backendServices", "buckets", "databaseInstances", "healthChecks", "regionAutoscalers",
            "regionInstanceGroupManagers", "urlMaps")  # fmt: skip
_TRIES = 12
_BROKEN = ("FAILED", "SUSPENDED")
_PATIENCE = 360


def mend(account: Account, part: Resource, body: Mapping[str, Any], found: Thing) -> None:
    """Change what is other than wanted.

    Args:
        account: Where the calls go.
        part: What is wanted.
        body: Its document, with everything known.
        found: What is there.
    """
    if part.collection == "dashboards":
        changed = {**body, "name": found.path, "etag": found.there["etag"]}
        account.change("dashboards", "patch", name=found.path, body=changed)
    elif is_of(part.collection, "monitoring"):
        account.change(part.collection, "patch", name=found.path, body=dict(body))
    elif part.collection == "firewalls":
        account.change(
            "firewalls", "update", project=account.project, firewall=body["name"], body=dict(body)
        )
    elif part.collection == "instances":
        _mend_machine(account, part.parent.rpartition("/")[2], body, found.there)
    elif part.collection == "secrets":
        keep_password(account, found.path)
    elif part.collection == "databaseInstances" and _settled(account, found.there) in _BROKEN:
        return
    elif part.collection in POOLS:
        account.change(
            part.collection, "patch", name=found.path, body=dict(body), updateMask=",".join(body)
        )
    elif part.collection == "serviceAccounts" and part.readers:
        let_in(account, part, body["readers"])
    elif part.collection in _PATCHED:
        _patch(account, part, body, found.there)


def _patch(
    account: Account, part: Resource, body: Mapping[str, Any], there: Mapping[str, Any]
) -> None:
    """Change what a document says, and nothing else: where callers go stays as it is."""
    if part.collection == "buckets":
        allow(account, part)
    kind, changes = KINDS[part.collection], dict(body)
    for key in ("description", "targetSize"):
        changes.pop(key, None)
    named: dict[str, Any] = {"project": account.project, kind.singular: body["name"]}
    if kind.scope == "regional":
        named["region"] = part.parent.rpartition("/")[2]
    if part.collection == "databaseInstances":
        _check_address(changes, there, account.place)
        changes["settings"] = changes["settings"] | {
            "settingsVersion": there["settings"]["settingsVersion"]
        }
        del changes["settings"]["dataDiskSizeGb"]  # it grows by itself, and cannot shrink
    if part.collection == "regionAutoscalers":
        changes["target"] = there["target"]
    if kind.scope == "bucket":
        named = {kind.singular: body["name"]}
        changes.pop("location")
    if "fingerprint" in there:
        changes["fingerprint"] = there["fingerprint"]
    account.change(part.collection, "patch", **named, body=changes)


def _check_address(wanted: Mapping[str, Any], there: Mapping[str, Any], place: str) -> None:
    """Google gives a private address by an endpoint to new databases alone, and for good."""
    private = [
        bool(each["settings"]["ipConfiguration"].get("pscConfig", {}).get("pscEnabled"))
        for each in (wanted, there)
    ]
    if private[0] != private[1]:
        raise InputError(
            f"the database {there['name']} has a {'private' if private[1] else 'public'} address, "
            "which Google Cloud does not change",
            where=f"{place}, database_access",
            fix="put that back; or deploy under another name, and move the registry there",
        )


def _settled(account: Account, there: Mapping[str, Any]) -> str:
    """The state of a database, when nothing is at work on it any more."""
    named = {"project": account.project, "instance": there["name"]}
    found: Mapping[str, Any] | None = there
    for _ in range(_PATIENCE):
        if found is None or found.get("state") in ("RUNNABLE", *_BROKEN):
            break
        account.pause(5)
        found = account.get("databaseInstances", **named)
    return str((found or {}).get("state", ""))


def keep_password(account: Account, secret: str) -> str:
    """The database's password, which is made when there is none yet; only Google keeps it.

    Args:
        account: Where the calls go.
        secret: Path of the secret.
    """
    found = account.get("versions", "access", name=f"{secret}/versions/latest")
    if found is not None:
        return base64.b64decode(found["payload"]["data"]).decode()
    made = secrets.token_urlsafe(32)
    data = base64.b64encode(made.encode()).decode()
    account.change(
        "secrets", "addVersion", again=False, parent=secret, body={"payload": {"data": data}}
    )
    return made


def let_in(account: Account, part: Resource, members: Sequence[str]) -> None:
    """Let these and nobody else use a service account; a new one is not known at once."""
    for attempt in range(_TRIES):
        policy = account.get("serviceAccounts", "getIamPolicy", resource=part.path) or {}
        others = [each for each in policy.get("bindings") or () if each["role"] != USER]
        bindings = [*others, {"role": USER, "members": list(members)}]
        changed = {"policy": {**policy, "bindings": bindings}}
        try:
            account.change("serviceAccounts", "setIamPolicy", resource=part.path, body=changed)
            return
        except InputError as error:
            if attempt == _TRIES - 1 or "does not exist" not in str(error.what):
                raise
            account.pause(5)


def make_secret(account: Account, part: Resource, body: Mapping[str, Any]) -> None:
    """Make a secret, with a password in it."""
    account.change(
        "secrets", "create", again=False, parent=part.parent, secretId=part.name, body=dict(body)
    )
    keep_password(account, part.path)


def allow(account: Account, part: Resource) -> None:
    """Let the readers of a bucket read it; an account that was just made is not known at once."""
    bucket = part.body["name"]
    for attempt in range(_TRIES):
        policy = account.get("buckets", "getIamPolicy", bucket=bucket) or {}
        bindings = list(policy.get("bindings") or ())
        lacking = sorted(set(part.readers) - set(readers(account, bucket)))
        if not lacking:
            return
        bindings.append({"role": READER, "members": lacking})
        changed = {**policy, "bindings": bindings}
        try:
            account.change("buckets", "setIamPolicy", bucket=bucket, body=changed)
        except InputError as error:
            if attempt == _TRIES - 1 or "does not exist" not in str(error.what):
                raise
            account.pause(5)


def _mend_machine(
    account: Account, zone: str, body: Mapping[str, Any], there: Mapping[str, Any]
) -> None:
    named: dict[str, Any] = {"project": account.project, "zone": zone, "instance": body["name"]}
    _mend_address(account, named, body, there)
    _mend_told(account, named, body, there)
    if (there.get("tags") or {}).get("items") != body["tags"]["items"]:
        tags = {**body["tags"], "fingerprint": there["tags"]["fingerprint"]}
        account.change("instances", "setTags", **named, body=tags)
    state = there["status"]
    if there["machineType"] != body["machineType"]:
        if state != "TERMINATED":
            account.change("instances", "stop", **named)
        chosen = {"machineType": body["machineType"]}
        account.change("instances", "setMachineType", **named, body=chosen)
        state = "TERMINATED"
    if state in ("TERMINATED", "STOPPED"):
        account.change("instances", "start", **named)
    elif state == "SUSPENDED":
        account.change("instances", "resume", **named)


def _mend_told(
    account: Account, named: Mapping[str, Any], body: Mapping[str, Any], there: Mapping[str, Any]
) -> None:
    items = told((there.get("metadata") or {}).get("items"))
    wanted = {**items, **told(body["metadata"]["items"])}
    if items != wanted:
        tell(account, named, wanted, there)


def tell(
    account: Account, named: Mapping[str, Any], items: Mapping[str, str], there: Mapping[str, Any]
) -> None:
    """Write a machine's metadata; OutsideError when somebody else did at the same time."""
    metadata = {
        "items": [{"key": key, "value": value} for key, value in items.items()],
        "fingerprint": there["metadata"]["fingerprint"],
    }
    account.change("instances", "setMetadata", **named, body=metadata)


def _mend_address(
    account: Account, named: Mapping[str, Any], body: Mapping[str, Any], there: Mapping[str, Any]
) -> None:
    wanted, found = outside(body), outside(there)
    interface = (there.get("networkInterfaces") or [{}])[0].get("name", "nic0")
    if found.get("natIP") == wanted["natIP"]:
        return
    if found:
        account.change(
            "instances", "deleteAccessConfig", **named, accessConfig=found["name"],
            networkInterface=interface,
        )  # fmt: skip
    account.change("instances", "addAccessConfig", **named, networkInterface=interface, body=wanted)


def refuse(part: Resource, said: list[str], place: str) -> InputError:
    """The error for what cannot be changed in place."""
    return InputError(
        f"{part.what} cannot be changed where it is: {', '.join(said)}",
        where=place,
        fix="put that back, or destroy the deployment and make it anew",
    )
