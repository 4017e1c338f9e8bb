"""Cloud Storage and accounts of the strict server: buckets, objects in parts, who may read them."""

from __future__ import annotations

import json
import urllib.parse
import uuid
from typing import Any


class Refusal(Exception):  # noqa: N818
    """An answer that is an error: status, reason, message."""


class Storing:
    """What `Google` has besides Compute Engine and Monitoring.

    Attributes:
        things: Path -> what is there; shared with the server.
        contents: Path of an object -> its bytes.
    """

    def __init__(self, things: dict[str, dict[str, Any]]) -> None:
        self.things = things
        self.contents: dict[str, bytes] = {}
        self.uploads: dict[str, dict[str, Any]] = {}

    def account(self, verb: str, place: str, body: Any) -> dict[str, Any]:
        """Answer IAM."""
        if verb == "create":
            project = place.split("/")[1]
            mail = f"{body['accountId']}@{project}.iam.gserviceaccount.com"
            path = f"{place}/{mail}"
            if path in self.things:
                raise Refusal(409, "ALREADY_EXISTS", f"Service account {mail} already exists")
            if not 6 <= len(body["accountId"]) <= 30:
                raise Refusal(400, "INVALID_ARGUMENT", "accountId: 6 to 30 characters")
            told = body["serviceAccount"]
            if len(told.get("description", "").encode()) > 256:
                raise Refusal(400, "INVALID_ARGUMENT", "description: more than 256 bytes")
            self.things[path] = {**told, "name": path, "email": mail}
            return self.things[path]
        if verb == "list":
            return {"accounts": [t for path, t in self.things.items() if path.startswith(place)]}
        if place not in self.things:
            raise Refusal(404, "NOT_FOUND", f"Unknown service account {place}")
        return self.things.pop(place) and {} if verb == "delete" else self.things[place]

    def storage(self, name: str, named: dict[str, str], body: Any) -> dict[str, Any]:
        """Answer Cloud Storage."""
        _, owner, verb = name.split(".")
        path = f"buckets/{named.get('bucket', '')}"
        if owner == "objects":
            return self._object(verb, path, named.get("object", ""))
        if verb == "insert":
            return self._make_bucket(body)
        if verb == "list":
            found = [t for at, t in self.things.items() if at.startswith("buckets/")]
            return {"items": [t for t in found if t["kind"] == "storage#bucket"]}
        if path not in self.things:
            raise Refusal(404, "notFound", "The specified bucket does not exist.")
        bucket = self.things[path]
        if verb == "patch":
            bucket.update(body)
        elif verb == "getIamPolicy":
            return dict(bucket["policy"])
        elif verb == "setIamPolicy":
            return self._allow(bucket, body)
        elif verb == "delete":
            if any(at.startswith(f"{path}/") for at in self.things):
                raise Refusal(409, "conflict", "The bucket you tried to delete is not empty.")
            del self.things[path]
            return {}
        return {key: value for key, value in bucket.items() if key != "policy"}

    def _make_bucket(self, body: dict[str, Any]) -> dict[str, Any]:
        path = f"buckets/{body['name']}"
        if path in self.things:
            raise Refusal(409, "conflict", "Your previous request to create it succeeded.")
        policy = {"kind": "storage#policy", "etag": "CAE=", "bindings": []}
        self.things[path] = {**body, "kind": "storage#bucket", "policy": policy}
        return body

    def _allow(self, bucket: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        if body.get("etag") != bucket["policy"]["etag"]:
            raise Refusal(412, "conditionNotMet", "The etag does not match.")
        for binding in body["bindings"]:
            for member in binding["members"]:
                mail = member.removeprefix("serviceAccount:")
                if not any(at.endswith(f"/serviceAccounts/{mail}") for at in self.things):
                    raise Refusal(400, "invalid", f"Service account {mail} does not exist.")
        bucket["policy"] = {**body, "etag": uuid.uuid4().hex}
        return dict(bucket["policy"])

    def _object(self, verb: str, bucket: str, name: str) -> dict[str, Any]:
        if bucket not in self.things:
            raise Refusal(404, "notFound", "The specified bucket does not exist.")
        path = f"{bucket}/objects/{name}"
        if verb == "list":
            return {"items": [t for at, t in self.things.items() if at.startswith(path)]}
        if path not in self.things:
            raise Refusal(404, "notFound", f"No such object: {path}")
        if verb == "delete":
            del self.things[path], self.contents[path]
            return {}
        return self.things[path]

    def upload(self, asked: Any, url: urllib.parse.SplitResult, content: bytes) -> int:
        """Take an object in parts (https://cloud.google.com/storage/docs/resumable-uploads)."""
        query = dict(urllib.parse.parse_qsl(url.query))
        headers: dict[str, str] = {}
        if asked.command == "POST":
            bucket = url.path.split("/")[-2]
            if f"buckets/{bucket}" not in self.things:
                return _send(asked, 404, {}, b"{}")
            key = uuid.uuid4().hex
            self.uploads[key] = {**json.loads(content), "bucket": bucket, "content": b""}
            host = asked.headers["Host"]
            headers["Location"] = f"http://{host}{url.path}?uploadType=resumable&upload_id={key}"
            return _send(asked, 200, headers, b"")
        upload = self.uploads[query["upload_id"]]
        span = asked.headers["Content-Range"].removeprefix("bytes ")
        place, _, total = span.partition("/")
        if place != "*":
            assert int(place.split("-")[0]) == len(upload["content"])
            upload["content"] += content
        if len(upload["content"]) < int(total):
            if upload["content"]:
                headers["Range"] = f"bytes=0-{len(upload['content']) - 1}"
            return _send(asked, 308, headers, b"")
        path = f"buckets/{upload['bucket']}/objects/{upload['name']}"
        self.contents[path] = upload.pop("content")
        made = {**upload, "kind": "storage#object", "size": total}
        self.things[path] = made
        return _send(asked, 200, {}, json.dumps(made).encode())


def _send(asked: Any, status: int, headers: dict[str, str], body: bytes) -> int:
    asked.send_response(status)
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        asked.send_header(name, value)
    asked.end_headers()
    asked.wfile.write(body)
    return status
