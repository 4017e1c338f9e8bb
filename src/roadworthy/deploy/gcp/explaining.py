"""What an error of Google Cloud means, and what to do."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from googleapiclient.errors import HttpError

from roadworthy.errors import InputError, OutsideError, RoadworthyError

_PERMISSION = re.compile(r"'?([a-z]+\.[a-zA-Z]+\.[a-zA-Z]+)'? (?:permission|denied|access)")
_PLACE = re.compile(r"projects/[^/]+/(zones|regions)/[^/']+' was not found|Unknown (zone|region)")
_SERVICE = re.compile(r"([a-z]+\.googleapis\.com)")
_QUOTA = re.compile(r"quota(?!.*per minute)", re.IGNORECASE)
_DISABLED = ("accessNotConfigured", "SERVICE_DISABLED")
_FIXES = {
    "ZONE_RESOURCE_POOL_EXHAUSTED": "try again later, or another zone or machine_type",
    "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS": "try again later, or another zone or machine_type",
    "resourceInUseByAnotherResource": "something that Roadworthy did not make uses it: remove that",
    "billingNotEnabled": "enable billing for the project in the Google Cloud console",
    "UREQ_PROJECT_BILLING_NOT_OPEN": "enable billing for the project in the Google Cloud console",
    "conditionNotMet": "somebody changed it at the same time: run the same again",
}


class Refusal(Exception):  # noqa: N818
    """What Google said no to, in an answer or at the end of an operation.

    Args:
        status: Status of the answer.
        reason: Google's word for it.
        message: What it said.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


def refusal(error: HttpError) -> Refusal:
    """What an error of the library says."""
    try:
        told: dict[str, Any] = msgspec.json.decode(error.content)["error"]
        first = (told.get("errors") or [{}])[0]
        reasons = [each["reason"] for each in told.get("details") or () if "reason" in each]
        reason = str((reasons or [first.get("reason") or told.get("status", "")])[0])
        return Refusal(error.status_code, reason, str(told.get("message", "")))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return Refusal(error.status_code, "", str(error.reason))


def explain(error: Refusal, call: str, where: str) -> RoadworthyError:
    """The error that says what to do.

    Args:
        error: What was refused.
        call: Collection and method.
        where: Cloud and zone.
    """
    said, reason = error.message.strip() or error.reason, error.reason
    if error.status == 401:
        return no_credentials(said, where)
    if reason in _DISABLED:
        service = _SERVICE.search(said)
        name = service[1] if service else "compute.googleapis.com"
        return OutsideError(
            f"the interface {name} is not enabled in the project",
            where=where,
            fix=f"gcloud services enable {name}",
        )
    if permission := _PERMISSION.search(said):
        return OutsideError(
            f"Google Cloud does not permit {permission[1]}",
            where=where,
            fix=f"give whoever signs in a role with {permission[1]}",
        )
    if error.status == 403 and reason in ("forbidden", "IAM_PERMISSION_DENIED"):
        return OutsideError(
            f"Google Cloud does not permit {call}: {said}",
            where=where,
            fix="give whoever signs in the roles that docs/deploy.md lists",
        )
    if "not empty" in said:
        return OutsideError(
            f"Google Cloud refuses {call}: {said}",
            where=where,
            fix="the registry's models are yours: copy or remove them, then run the same again",
        )
    if _QUOTA.search(reason) or _QUOTA.search(said):
        return OutsideError(
            f"a quota of Google Cloud is used up: {said}",
            where=where,
            fix="ask for more under Quotas in the console, or use another zone or machine_type",
        )
    if place := _PLACE.search(said):
        return InputError(
            f"Google Cloud has no such place: {said}",
            where=where,
            fix=f"correct zone; gcloud compute {(place[1] or f'{place[2]}s')} list",
        )
    wrong = error.status in (400, 404) and reason not in _FIXES
    return (InputError if wrong else OutsideError)(
        f"Google Cloud refuses {call}: {said} ({reason or error.status})",
        where=where,
        fix=_FIXES.get(reason, "correct that, then run the same again"),
    )


def no_credentials(said: str, where: str) -> OutsideError:
    """The error for who could not sign in."""
    return OutsideError(
        f"there are no usable Google Cloud credentials: {said}",
        where=where,
        fix="gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
    )
