"""Calls to Google Cloud: sent, repeated where that is safe, waited for, and errors explained."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from google.auth.exceptions import GoogleAuthError
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaFileUpload
from httplib2 import HttpLib2Error

from roadworthy.deploy.gcp.explaining import Refusal, explain, no_credentials, refusal
from roadworthy.deploy.gcp.kinds import KINDS, POOLS
from roadworthy.errors import InputError, OutsideError

_TRIES = 5
_LONG = 1800.0
_PART = 1 << 23
_TAKEN = ("alreadyExists", "RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS", "instanceAlreadyExists")
_VERSIONS = "versions"
"""Of secrets: the only collection within another."""


class CutOffError(OutsideError):
    """No answer came, so it is not known whether the call was carried out."""


class Account:
    """A project, through the client that Google generates from its own descriptions.

    Args:
        project: Its id.
        credentials: Who signs in.
        place: Cloud and zone, for errors.
        endpoint: Where the interfaces are; None: Google's.
        pause: Seconds between two looks at what takes long.
    """

    def __init__(
        self, project: str, credentials: Any, place: str, endpoint: str | None = None,
        pause: float = 1.0,
    ) -> None:  # fmt: skip
        self.project = project
        self.place = place
        self._pause = pause
        self._credentials = credentials
        self._endpoint = endpoint
        self._interfaces: dict[str, Any] = {}
        self._clients: dict[str, Any] = {}
        self._compute = self._interface("compute.v1")

    def _interface(self, api: str) -> Any:
        if api not in self._interfaces:
            name, _, version = api.partition(".")
            path = "/storage/v1/" if name == "storage" else ""
            more: dict[str, Any] = {}
            if self._endpoint:
                more = {"client_options": {"api_endpoint": f"{self._endpoint}{path}"}}
            self._interfaces[api] = build(
                name, version, credentials=self._credentials, static_discovery=True, **more
            )
        return self._interfaces[api]

    def collection(self, name: str) -> Any:
        """The client of a collection."""
        if name not in self._clients:
            if name == _VERSIONS:
                self._clients[name] = self.collection("secrets").versions()
                return self._clients[name]
            kind = KINDS.get(name)
            owner, own = self._interface(kind.api if kind else "compute.v1"), name
            if kind and kind.scope == "project":
                owner = owner.projects()
            if name in POOLS:
                owner = owner.locations()
            if name == "workloadIdentityPoolProviders":
                owner, own = owner.workloadIdentityPools(), "providers"
            self._clients[name] = getattr(owner, (kind and kind.client) or own)()
        return self._clients[name]

    def get(self, collection: str, method: str = "get", **parameters: Any) -> dict[str, Any] | None:
        """What is there; None: nothing."""
        try:
            return self._send(collection, method, parameters, again=True)
        except Refusal as error:
            if error.status == 404:
                return None
            raise self._explained(error, collection, method) from None

    def listed(
        self, collection: str, method: str, *, denied: bool = False, **parameters: Any
    ) -> list[dict[str, Any]]:
        """All pages of a list; with `denied`, none where nobody may look."""
        client, pages = self.collection(collection), []
        request = getattr(client, method)(**parameters)
        while request is not None:
            try:
                answer = self._execute(request, again=True)
            except Refusal as error:
                if denied and error.status == 403:
                    return []
                raise self._explained(error, collection, method) from None
            pages.append(answer)
            request = getattr(client, f"{method}_next")(request, answer)
        return pages

    def change(
        self, collection: str, method: str, *, again: bool = True, **parameters: Any
    ) -> dict[str, Any]:
        """Send a change, and wait until it is done.

        Args:
            collection: Of what.
            method: As the interface names it.
            again: Whether to send it once more after a fault: not what would make a second one.
            parameters: Of the method.

        Raises:
            InputError: A value is wrong.
            CutOffError: No answer came, and it was not sent again.
            OutsideError: It is refused, as `explain` says.
        """
        try:
            answer = self._send(collection, method, parameters, again=again)
            if collection in POOLS:
                return self._settled(collection, answer)
            return self._waited(answer) if "operationType" in answer else answer
        except Refusal as error:
            if error.status == 404 and method == "delete":
                return {}
            if method in ("insert", "create") and error.reason in _TAKEN:
                return {}  # it was made by a call whose answer was lost
            if error.status >= 500 and not again:
                raise CutOffError(
                    f"Google Cloud failed at {collection} {method}: {error.message}",
                    where=self.place, fix="run the same again",
                ) from None  # fmt: skip
            raise self._explained(error, collection, method) from None

    def pause(self, times: float = 1) -> None:
        """Wait, so many times as long as between two looks."""
        time.sleep(self._pause * times)

    def upload(self, bucket: str, name: str, file: Path, marks: Mapping[str, str]) -> None:
        """Write a file as an object, in parts; one of that name is written anew, whole or not.

        Raises:
            OutsideError: It is refused, or the connection is cut again and again.
        """
        media = MediaFileUpload(
            str(file), mimetype="application/octet-stream", chunksize=_PART, resumable=True
        )
        body = {"name": name, "metadata": dict(marks)}
        request = self.collection("objects").insert(bucket=bucket, body=body, media_body=media)
        if self._endpoint:  # the library always speaks TLS here
            scheme = urlsplit(self._endpoint).scheme
            request.uri = urlsplit(request.uri)._replace(scheme=scheme).geturl()
        try:
            self._execute(request, again=True)
        except Refusal as error:
            raise self._explained(error, "objects", "insert") from None

    def close(self) -> None:
        """End connections."""
        for each in self._interfaces.values():
            each.close()

    def _send(
        self, collection: str, method: str, parameters: dict[str, Any], *, again: bool
    ) -> dict[str, Any]:
        try:
            request = getattr(self.collection(collection), method)(**parameters)
        except TypeError as error:  # a parameter that the interface does not have, or a wrong one
            raise InputError(
                f"Google Cloud does not take {collection} {method}: {error}",
                where=self.place, fix="correct [deploy.NAME]",
            ) from None  # fmt: skip
        return self._execute(request, again=again)

    def _execute(self, request: Any, *, again: bool) -> dict[str, Any]:
        try:
            found = request.execute(num_retries=_TRIES if again else 0)
        except HttpError as error:
            raise refusal(error) from None
        except GoogleAuthError as error:
            raise no_credentials(str(error), self.place) from None
        except (OSError, HttpLib2Error) as error:
            raise CutOffError(
                f"the connection to Google Cloud was cut: {error}",
                where=self.place, fix="check the network, then run the same again",
            ) from None  # fmt: skip
        return found if isinstance(found, dict) else {}  # what is deleted says nothing

    def _waited(self, operation: dict[str, Any]) -> dict[str, Any]:
        """The operation's end; Refusal when it failed."""
        end = time.monotonic() + _LONG
        while operation.get("status") != "DONE":
            if time.monotonic() > end:
                raise OutsideError(
                    f"{operation['operationType']} does not end",
                    where=self.place, fix="look in the console; then run the same again",
                ) from None  # fmt: skip
            time.sleep(self._pause)
            operation = self._execute(self._look(operation), again=True)
        if errors := (operation.get("error") or {}).get("errors"):
            status = int(operation.get("httpErrorStatusCode", 400))
            first = errors[0]
            raise Refusal(status, str(first.get("code", "")), str(first.get("message", "")))
        return operation

    def _settled(self, collection: str, operation: dict[str, Any]) -> dict[str, Any]:
        """The end of an operation on what signs in; Refusal when it failed."""
        end = time.monotonic() + _LONG
        while "/operations/" in operation.get("name", "") and not operation.get("done"):
            if time.monotonic() > end:
                raise OutsideError(
                    f"the change of {collection} does not end",
                    where=self.place, fix="look in the console; then run the same again",
                ) from None  # fmt: skip
            time.sleep(self._pause)
            looked = self.collection(collection).operations().get(name=operation["name"])
            operation = self._execute(looked, again=True)
        if error := operation.get("error"):
            raise Refusal(400, str(error.get("code", "")), str(error.get("message", "")))
        return operation

    def _look(self, operation: dict[str, Any]) -> Any:
        named = {"project": self.project, "operation": operation["name"]}
        where = re.search(r"/(zones|regions)/([^/]+)", operation["selfLink"])
        if operation.get("kind") == "sql#operation":
            return self._interface("sqladmin.v1").operations().get(**named)
        if where is None:
            return self._compute.globalOperations().get(**named)
        if where[1] == "zones":
            return self._compute.zoneOperations().get(zone=where[2], **named)
        return self._compute.regionOperations().get(region=where[2], **named)

    def _explained(self, error: Refusal, collection: str, method: str) -> Exception:
        return explain(error, f"{collection} {method}", self.place)
