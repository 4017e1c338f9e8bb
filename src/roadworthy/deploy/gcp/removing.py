"""Steps that take things away, with the command line that does the same."""

from __future__ import annotations

import shlex
from typing import Any
from urllib.parse import quote

from roadworthy.deploy.gcp.kinds import KINDS, is_of
from roadworthy.deploy.gcp.listing import place_of
from roadworthy.deploy.gcp.resource import Thing
from roadworthy.deploy.plan import Step

_DOORS = {
    "compute.v1": "compute.googleapis.com/compute/v1",
    "monitoring.v1": "monitoring.googleapis.com/v1",
    "monitoring.v3": "monitoring.googleapis.com/v3",
    "iam.v1": "iam.googleapis.com/v1",
    "secretmanager.v1": "secretmanager.googleapis.com/v1",
    "sqladmin.v1": "sqladmin.googleapis.com/v1",
}
_LAST_BACKUP = {"enableFinalBackup": True, "finalBackupTtlDays": 365}


def asked_with(collection: str) -> dict[str, Any]:
    """What a removal says besides the name: what is in a database outlives it, so long."""
    return _LAST_BACKUP if collection == "databaseInstances" else {}


def removal_of(one: Thing) -> Step:
    """The step that takes a thing away."""
    given = "&".join(
        f"{key}={str(each).lower()}" for key, each in asked_with(one.collection).items()
    )
    url = shlex.quote(f"{_address(one)}{'?' if given else ''}{given}")
    token = '-H "Authorization: Bearer $(gcloud auth print-access-token)"'
    return Step(
        id=f"gcp-{one.path}",
        what=f"remove {one.path.rpartition('/')[2]} of {one.collection}",
        change="delete",
        document={"collection": one.collection, "path": one.path},
        command=f"curl -X DELETE {token} {url}",
    )


def _address(one: Thing) -> str:
    if is_of(one.collection, "storage"):
        named = place_of(one.collection, one.path)
        place = {key: quote(each, safe="") for key, each in named.items()}
        url = f"https://storage.googleapis.com/storage/v1/b/{place['bucket']}"
        return f"{url}/o/{place['object']}" if "object" in place else url
    return f"https://{_DOORS[KINDS[one.collection].api]}/{one.path}"
