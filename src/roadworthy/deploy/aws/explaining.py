"""What an error of AWS means, and what to do: credentials, permission, quota, region, values."""

from __future__ import annotations

import difflib
import re

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from roadworthy.errors import InputError, OutsideError, RoadworthyError

_THROTTLED = {
    "Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded",
    "RequestThrottled", "RequestThrottledException", "TooManyRequestsException", "SlowDown",
    "BandwidthLimitExceeded", "PriorRequestNotComplete", "TransactionInProgressException",
    "EC2ThrottledException", "ProvisionedThroughputExceededException",
}  # fmt: skip
_CREDENTIALS = {
    "AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch",
    "ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidAccessKeyId",
    "MissingAuthenticationToken", "IncompleteSignature", "TokenRefreshRequired",
}  # fmt: skip
_DENIED = {
    "UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "AuthorizationError",
    "AuthorizationErrorException", "Client.UnauthorizedOperation", "NotAuthorized",
}  # fmt: skip
_QUOTA = re.compile(r"LimitExceeded|QuotaExceeded|TooManyBuckets|MaxIOPSLimit")
_ACTION = re.compile(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z]+)")
_IAM_NAMES = {"elbv2": "elasticloadbalancing"}
_FIXES = {
    "InsufficientInstanceCapacity": "try again later, or another instance_type or region",
    "Unsupported": "the type is not offered there: choose another instance_type",
    "OptInRequired": "enable the region, or accept the image's terms, in the AWS console",
    "PendingVerification": "AWS is verifying the account: try again in some hours",
    "InvalidInstanceType": "correct instance_type",
    "BucketAlreadyExists": "the name of the bucket is taken: choose another deployment name",
    "BucketNotEmpty": "the bucket still holds models: empty it yourself, then run the same again",
    "DependencyViolation": "something that Roadworthy did not make uses it: remove that first",
}  # fmt: skip


def is_throttled(error: ClientError) -> bool:
    """Whether AWS refused a call for its rate, so that it was not carried out."""
    return _code(error) in _THROTTLED


def explain(
    error: BotoCoreError | ClientError | ResponseParserError | ValueError, call: str, region: str
) -> RoadworthyError:
    """The error that says what to do.

    Args:
        error: What the library raised.
        call: Service and operation, as in `ec2 CreateVpc`.
        region: The region.
    """
    if isinstance(error, ClientError):
        return _refused(error, call, region)
    kind, where = type(error).__name__, f"aws {region}"
    if re.search(r"Credential|Token|SSO|Profile|Login", kind):
        return OutsideError(
            f"there are no usable AWS credentials: {error}",
            where=where,
            fix="sign in with aws sso login or aws configure, or set AWS_PROFILE or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if kind in ("EndpointConnectionError", "InvalidRegionError", "ValueError"):
        near = _near(region)
        return OutsideError(
            f"AWS cannot be reached in the region {region}",
            where=where,
            fix=f"did you mean {near}?" if near else "check region and the network",
        )
    return OutsideError(
        f"AWS cannot be reached: {error}", where=where, fix="check the network, then run it again"
    )


def _refused(error: ClientError, call: str, region: str) -> RoadworthyError:
    code, where = _code(error), f"aws {region}"
    said = str(error.response.get("Error", {}).get("Message", "")).strip()
    if code in _CREDENTIALS:
        return OutsideError(
            f"AWS does not accept the credentials: {said or code}",
            where=where,
            fix="sign in again, check the clock, and that the region is enabled for the account",
        )
    if code in _DENIED:
        found = _ACTION.search(said)
        service, _, operation = call.partition(" ")
        action = found[1] if found else f"{_IAM_NAMES.get(service, service)}:{operation}"
        return OutsideError(
            f"AWS does not let you call {action}",
            where=where,
            fix=f"allow {action} to your user or role; docs/deploy.md has the whole policy",
        )
    if _QUOTA.search(code):
        return OutsideError(
            f"a quota of the account is used up at {call}: {said or code}",
            where=where,
            fix="remove what is not needed, or ask for more in Service Quotas; "
            "then run the same again",
        )
    kind = (
        InputError if re.match(r"Invalid|Malformed|Validation|Unsupported", code) else OutsideError
    )
    return kind(
        f"AWS refuses {call}: {said or code} ({code})",
        where=where,
        fix=_FIXES.get(code, "correct that, then run the same again"),
    )


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _near(region: str) -> str | None:
    known = boto3.Session(region_name="us-east-1").get_available_regions("ec2")
    found = difflib.get_close_matches(region, [each for each in known if each != region], n=1)
    return found[0] if region not in known and found else None
