"""Keys that never leave a key management service, behind one small protocol.

Each service is one class in a file of its own and one entry of `SERVICES`. A reference is
`SERVICE:KEY`, or `SERVICE://KEY` as cosign writes it; credentials come from the service's own
environment and files.
"""

from __future__ import annotations

from collections.abc import Callable

from roadworthy.bundle.kms._base import ServiceKey
from roadworthy.bundle.kms.aws import AwsKey
from roadworthy.bundle.kms.azure import AzureKey
from roadworthy.bundle.kms.google import GoogleKey

SERVICES: dict[str, Callable[[str], ServiceKey]] = {
    "awskms": AwsKey,
    "azurekms": AzureKey,
    "gcpkms": GoogleKey,
}


def is_service_key(reference: str) -> bool:
    """Whether a reference names a key of a key service."""
    service, colon, _ = reference.partition(":")
    return bool(colon) and service in SERVICES


def open_service_key(reference: str) -> ServiceKey:
    """The key that a reference such as `awskms:alias/models` names.

    Raises:
        InputError: The reference names no key.
        OutsideError: The service is out of reach, or its library is not installed.
    """
    service, _, key = reference.partition(":")
    return SERVICES[service](key.lstrip("/"))
