"""A resource of Google Cloud as plain data: where it is, and the document that makes it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

import msgspec

from roadworthy.deploy.cloud.prices import PAID
from roadworthy.deploy.cloud.provider import DEPLOYMENT, MODEL, PART
from roadworthy.deploy.gcp.kinds import is_of, segment
from roadworthy.deploy.plan import Price, Step


class Naming(msgspec.Struct, frozen=True):
    """Names and marks of one deployment's parts.

    Networks and firewalls have no labels, so what is made carries its marks in its description;
    alarms and channels, which have no description, in labels.
    """

    project: str
    deployment: str
    model: str

    @property
    def name(self) -> str:
        """The beginning of all names."""
        return f"roadworthy-{self.deployment}"

    def mark(self, part: str) -> str:
        """The marks of a part, as a description."""
        return f"{DEPLOYMENT}={self.deployment} {PART}={part} {MODEL}={self.model}"

    def labels(self, part: str) -> dict[str, str]:
        """The marks of a part, as labels."""
        return {DEPLOYMENT: self.deployment, PART: part}


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a deployment.

    Attributes:
        id: Its name, in the plan and in its mark.
        what: What it is, in words.
        collection: Which of `KINDS` it is in.
        parent: What the collection belongs to, like `projects/P/zones/Z`.
        body: The document that makes it; `${PART}` stands for what Google says when it is made.
        command: The command line that does the same.
        needs: Ids of parts that come before.
        price: What it costs.
        name: Its name, where the document has none.
        readers: Who may read what is in a bucket, or use an account.
    """

    id: str
    what: str
    collection: str
    parent: str
    body: dict[str, Any]
    command: str
    needs: tuple[str, ...] = ()
    price: Price | None = None
    name: str = ""
    readers: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Where it is; of alarms and channels only Google knows the end."""
        name = self.name or self.body.get("name", "")
        return f"{self.parent}/{segment(self.collection)}/{name}".lstrip("/")

    def step(self) -> Step:
        """The step that makes it."""
        return Step(
            id=self.id, what=self.what, change="create",
            document={"parent": f"{self.parent}/{segment(self.collection)}", "body": self.body},
            needs=self.needs, command=self.command, price=self.price,
            # an address of the network costs nothing
            paid=self.collection in PAID["gcp"] and self.body.get("addressType") != "INTERNAL",
        )  # fmt: skip


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """Something that carries a deployment's mark.

    Attributes:
        path: Where it is, from `projects/` on.
        collection: Which of `KINDS` it is in.
        there: What Google says of it, addresses of resources beginning with `projects/`.
        marks: Its marks.
    """

    path: str
    collection: str
    there: dict[str, Any]
    marks: Mapping[str, str]

    @property
    def part(self) -> str:
        """Which part it is."""
        return self.marks.get(PART, "")


def by_hand(url: str, body: dict[str, Any]) -> str:
    """The command line that sends a document."""
    token = '"Authorization: Bearer $(gcloud auth print-access-token)"'
    data = shlex.quote(msgspec.json.encode(body).decode())
    return f"curl -H {token} -H 'Content-Type: application/json' {shlex.quote(url)} -d {data}"


def thing(collection: str, there: dict[str, Any]) -> Thing:
    """What Google says of something, with its marks."""
    short = _shortened(there)
    text = str(short.get("description", ""))
    marks = dict(each.split("=", 1) for each in text.split() if "=" in each)
    if collection == "dashboards":
        marks = dict(short.get("labels") or {})
    elif is_of(collection, "monitoring"):
        marks = dict(short.get("userLabels") or {})
    elif collection in ("buckets", "secrets"):
        marks = dict(short.get("labels") or {})
    elif collection == "databaseInstances":
        marks = dict((short.get("settings") or {}).get("userLabels") or {})
    elif collection == "objects":
        marks = dict(short.get("metadata") or {})
    return Thing(path=_path(collection, short), collection=collection, there=short, marks=marks)


def _path(collection: str, there: Mapping[str, Any]) -> str:
    if collection == "objects":
        return f"buckets/{there['bucket']}/objects/{there['name']}"
    if collection == "buckets":
        return f"buckets/{there['name']}"
    if collection == "databaseInstances":
        return f"projects/{there['project']}/instances/{there['name']}"
    return str(there["selfLink"] if is_of(collection, "compute") else there["name"])


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(r"^https?://[^/]+/compute/[a-z0-9]+/(?=projects/)", "", value)
    if isinstance(value, list):
        return [_shortened(each) for each in value]
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    return value
