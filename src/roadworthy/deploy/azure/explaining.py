"""What an error of Azure means, and what to do: credentials, permission, quota, region, values."""

from __future__ import annotations

import re

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from roadworthy.errors import InputError, OutsideError, RoadworthyError

_ACTION = re.compile(r"perform action '([^']+)'")
_QUOTA = re.compile(r"quota|CountLimitReached|LimitExceeded|LimitReached", re.IGNORECASE)
_CREDENTIALS = {
    "InvalidAuthenticationToken", "InvalidAuthenticationTokenTenant", "ExpiredAuthenticationToken",
    "AuthenticationFailed", "InvalidAuthenticationTokenAudience",
}  # fmt: skip
_FIXES = {
    "SubscriptionNotFound": "correct subscription; az account list shows them",
    "InvalidSubscriptionId": "correct subscription; az account list shows them",
    "ReadOnlyDisabledSubscription": "the subscription is disabled: pay, or use another one",
    "SkuNotAvailable": "the size is not offered there: choose another size or region",
    "AllocationFailed": "try again later, or another size or region",
    "ZonalAllocationFailed": "try again later, or another size or region",
    "OverconstrainedAllocationRequest": "try again later, or another size or region",
    "ScopeLocked": "take the management lock away, then run the same again",
    "RequestDisallowedByPolicy": "ask who looks after the subscription's policies",
    "PropertyChangeNotAllowed": "Azure cannot change that of a machine that is there: destroy the "
    "deployment and make it anew",
    "PlatformImageNotFound": "correct image, or leave it out",
    "MissingSubscriptionRegistration": "az provider register --namespace as named there",
    "NoRegisteredProviderFound": "check region; az account list-locations shows them",
    "LocationNotAvailableForResourceType": "check region; az account list-locations shows them",
    "InvalidResourceLocation": "destroy the deployment before it moves to another region",
    "InvalidResourceGroupLocation": "destroy the deployment before it moves to another region",
}
_WRONG = re.compile(r"Invalid|NotSupported|BadRequest|NotFound|NotAllowed|NotAvailable")


def code_of(error: AzureError) -> str:
    """Azure's code of an error; empty when it gave none."""
    found = getattr(error, "error", None)
    return str(getattr(found, "code", "") or "")


def explain(error: AzureError, call: str, where: str) -> RoadworthyError:
    """The error that says what to do.

    Args:
        error: What the library raised.
        call: Method and kind of resource.
        where: Cloud and region.
    """
    code, said = code_of(error), _said(error)
    status = getattr(error, "status_code", None)
    if isinstance(error, ClientAuthenticationError) or code in _CREDENTIALS or status == 401:
        return OutsideError(
            f"there are no usable Azure credentials: {said}",
            where=where,
            fix="sign in with az login, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and "
            "AZURE_CLIENT_SECRET",
        )
    if action := _ACTION.search(said):
        return OutsideError(
            f"Azure does not permit {action[1]}",
            where=where,
            fix=f"give whoever signs in a role with {action[1]}, like Contributor",
        )
    if not isinstance(error, HttpResponseError):
        return OutsideError(
            f"Azure cannot be reached at {call}: {said}",
            where=where,
            fix="check the network, then run the same again",
        )
    if code not in _FIXES and (_QUOTA.search(code) or _QUOTA.search(said)):
        return OutsideError(
            f"a quota of Azure is used up: {said}",
            where=where,
            fix="ask for more under Quotas in the Azure portal, or use another region or size",
        )
    known = _FIXES.get(code, "correct that, then run the same again")
    kind = (
        InputError if status is not None and status < 500 and _WRONG.search(code) else OutsideError
    )
    return kind(f"Azure refuses {call}: {said} ({code or status})", where=where, fix=known)


def _said(error: AzureError) -> str:
    found = getattr(error, "error", None)
    text = str(getattr(found, "message", "") or error.message).strip()
    return (text.splitlines() or [type(error).__name__])[0]
