"""How something is taken away in Google Cloud, by hand too."""

from __future__ import annotations

import shlex
from urllib.parse import quote

from roadworthy.deploy.gcp.kinds import KINDS
from roadworthy.deploy.gcp.listing import place_of
from roadworthy.deploy.gcp.registry import LAST_BACKUP
from roadworthy.deploy.gcp.resource import Thing
from roadworthy.deploy.plan import Step

_VERSIONS = {"compute": "compute/v1", "monitoring": "v3"}


def removal_step(one: Thing) -> Step:
    """The step that takes a thing away."""
    token = '-H "Authorization: Bearer $(gcloud auth print-access-token)"'
    return Step(
        id=f"gcp-{one.path}",
        what=f"remove {one.path.rpartition('/')[2]} of {one.collection}",
        change="delete",
        document={"collection": one.collection, "path": one.path},
        command=f"curl -X DELETE {token} {shlex.quote(_url(one))}",
    )


def _url(one: Thing) -> str:
    api = KINDS[one.collection].api.partition(".")[0]
    if api == "storage":
        named = {
            key: quote(each, safe="") for key, each in place_of(one.collection, one.path).items()
        }
        url = f"https://storage.googleapis.com/storage/v1/b/{named['bucket']}"
        return url + (f"/o/{named['object']}" if "object" in named else "")
    url = f"https://{api}.googleapis.com/{_VERSIONS.get(api, 'v1')}/{one.path}"
    if api == "sqladmin":
        url += "?" + "&".join(f"{key}={str(each).lower()}" for key, each in LAST_BACKUP.items())
    return url
