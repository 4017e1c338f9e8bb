"""Calls to Azure Resource Manager: sent, repeated, waited for, and their errors explained."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec
from azure.core import PipelineClient
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline.policies import RequestIdPolicy, RetryPolicy, UserAgentPolicy
from azure.core.polling import LROPoller
from azure.core.rest import HttpRequest
from azure.mgmt.core import ARMPipelineClient
from azure.mgmt.core.exceptions import ARMErrorFormat
from azure.mgmt.core.policies import (
    ARMAutoResourceProviderRegistrationPolicy,
    ARMChallengeAuthenticationPolicy,
)
from azure.mgmt.core.polling.arm_polling import ARMPolling

from roadworthy.deploy.azure.explaining import explain
from roadworthy.errors import OutsideError

ENDPOINT = "https://management.azure.com"
_TRIES = 5
_STORAGE = "https://storage.azure.com/.default"


class Account:
    """A subscription, through one generic client: paths, versions and documents are ours.

    Every method that changes something may be repeated, so what is refused for its rate, fails or
    is cut off is sent again.

    Args:
        subscription: Its id.
        credential: Who signs in.
        place: Cloud and region, for errors.
        endpoint: Where Resource Manager is.
        pause: Seconds between two looks at what takes long, where Azure does not say.
    """

    def __init__(
        self, subscription: str, credential: TokenCredential, place: str,
        endpoint: str = ENDPOINT, pause: float = 5.0,
    ) -> None:  # fmt: skip
        self.subscription = subscription
        self.place = place
        self.endpoint = endpoint
        self._pause = pause
        self._credential = credential
        retries = {"retry_total": _TRIES, "retry_backoff_factor": pause / 5}
        self._client: Any = ARMPipelineClient(
            endpoint,
            policies=[
                RequestIdPolicy(),
                UserAgentPolicy(sdk_moniker="roadworthy"),
                ARMAutoResourceProviderRegistrationPolicy(),
                RetryPolicy(**retries),
                ARMChallengeAuthenticationPolicy(credential, f"{endpoint}/.default"),
            ],
        )
        # what a signed address holds is asked for without the token
        self._plain: Any = PipelineClient("", policies=[RetryPolicy(**retries)])

    def get(self, path: str, version: str, **query: str) -> dict[str, Any] | None:
        """What is there; None: nothing."""
        try:
            found: dict[str, Any] | None = self._ask("GET", path, version, query=query)
        except HttpResponseError as error:
            if error.status_code == 404:
                return None
            raise self._explained(error, "GET", path) from None
        return found

    def listed(self, path: str, version: str, **query: str) -> list[dict[str, Any]]:
        """All pages of a list; nothing there is an empty one."""
        found: list[dict[str, Any]] = []
        answer = self.get(path, version, **query)
        while answer is not None:
            found += answer.get("value") or []
            following = answer.get("nextLink")
            if not following:
                break
            self._check(following)
            answer = self._page(following)
        return found

    def change(
        self, method: str, path: str, version: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Send a change, and wait until it is done; what is not there may be deleted.

        Raises:
            InputError: A value is wrong.
            OutsideError: It is refused, as `explain` says.
        """
        try:
            return self._ask(method, path, version, body=body, wait=True)
        except HttpResponseError as error:
            if method == "DELETE" and error.status_code == 404:
                return None
            raise self._explained(error, method, path) from None

    def signed_in(self) -> dict[str, str]:
        """Who signs in, as its token says: `id`, `name`, `type`, `tenant`.

        Raises:
            OutsideError: Nobody does, or the token does not say who.
        """
        try:
            token = self._credential.get_token(f"{self.endpoint}/.default").token
            part = token.split(".")[1]
            told = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
            person = told.get("upn") or told.get("unique_name") or told.get("preferred_username")
            return {
                "id": str(told["oid"]), "tenant": str(told["tid"]),
                "name": str(person or told["appid"]),
                "type": "User" if person else "ServicePrincipal",
            }  # fmt: skip
        except AzureError as error:
            raise explain(error, "signing in", self.place) from None
        except (IndexError, KeyError, ValueError, AttributeError):
            raise OutsideError(
                "Azure's token does not say who signs in, who is to look after the database",
                where=self.place,
                fix="sign in with az login",
            ) from None

    def has_blobs(self, url: str) -> bool:
        """Whether there is anything in a container of blobs.

        Raises:
            OutsideError: Nobody lets who signs in look.
        """
        query = {"restype": "container", "comp": "list", "maxresults": "1"}
        try:
            token = self._credential.get_token(_STORAGE).token
            headers = {"Authorization": f"Bearer {token}", "x-ms-version": "2021-12-02"}
            request = HttpRequest("GET", url, params=query, headers=headers)
            response = self._plain.send_request(request)
            if response.status_code == 404:
                return False
            response.raise_for_status()
        except AzureError as error:
            if getattr(error, "status_code", None) != 403:
                raise explain(error, "the models", self.place) from None
            raise OutsideError(
                "nobody lets who signs in see whether the store is empty",
                where=f"{self.place}, {url}",
                fix="give it the role Storage Blob Data Reader there, then run the same again",
            ) from None
        return b"<Blob>" in response.content

    def fetch(self, url: str) -> str:
        """The text at a signed address; empty: there is none yet."""
        try:
            response = self._plain.send_request(HttpRequest("GET", url))
            if response.status_code == 404:
                return ""
            response.raise_for_status()
        except AzureError as error:
            raise explain(error, "the console", self.place) from None
        return str(response.content.decode(errors="replace"))

    def close(self) -> None:
        """End connections."""
        self._client.close()
        self._plain.close()

    def _page(self, url: str) -> dict[str, Any] | None:
        try:
            response = self._client.send_request(HttpRequest("GET", url))
            response.raise_for_status()
        except AzureError as error:
            raise explain(error, "GET", self.place) from None
        found: dict[str, Any] = response.json()
        return found

    def _check(self, url: str) -> None:
        if not url.lower().startswith(f"{self.endpoint.lower()}/"):
            raise OutsideError("Azure names another address than its own", where=self.place)

    def _ask(
        self, method: str, path: str, version: str, *, query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None, wait: bool = False,
    ) -> dict[str, Any] | None:  # fmt: skip
        request = HttpRequest(
            method, f"{self.endpoint}{path}", params={"api-version": version, **(query or {})},
            json=body,
        )  # fmt: skip
        try:
            answered = self._client.send_request(request, _return_pipeline_response=True)
            response = answered.http_response
            if response.status_code >= 400:
                raise HttpResponseError(response=response, error_format=ARMErrorFormat)
            if wait:
                poller: LROPoller[Any] = LROPoller(
                    self._client, answered, _content, ARMPolling(self._pause)
                )
                return _as_document(poller.result())
            return _as_document(_content(answered))
        except HttpResponseError:
            raise
        except AzureError as error:
            raise self._explained(error, method, path) from None

    def _explained(self, error: AzureError, method: str, path: str) -> Exception:
        kind = path.rpartition("/providers/")[2] or path
        return explain(error, f"{method} {kind}", self.place)


def _content(answered: Any) -> Any:
    response = answered.http_response
    return response.json() if response.content else None


def _as_document(content: Any) -> dict[str, Any] | None:
    return content if isinstance(content, dict) else None
