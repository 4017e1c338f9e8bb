"""Azure Monitor, as custom metrics of a resource; who we are is found by azure-identity.

https://learn.microsoft.com/azure/azure-monitor/metrics/metrics-store-custom-rest-api
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from roadworthy.errors import InputError
from roadworthy.monitor.export import Sample
from roadworthy.monitor.push._base import PushPlace, missing, refused

_NAMESPACE = "roadworthy"
_SCOPE = "https://monitoring.azure.com/.default"
_SECONDS = 10.0


class Azure:
    """Custom metrics in the namespace that our alerts look into."""

    name = "azure"

    def push(self, found: Sequence[Sample], place: PushPlace, now: float) -> int:
        """See `PushTarget`."""
        if not place.resource or not place.endpoint:
            raise InputError(
                "Azure takes metrics of a resource, in its region",
                where="[monitor] push_resource and push_endpoint",
                fix="/subscriptions/… and https://REGION.monitoring.azure.com",
            )
        token = _token()
        address = f"{place.endpoint.rstrip('/')}/{place.resource.strip('/')}/metrics"
        documents = _documents(found, now)
        for document in documents:
            _post(address, token, document)
        return sum(len(each["data"]["baseData"]["series"]) for each in documents)


def _token() -> str:
    try:
        from azure.core.exceptions import ClientAuthenticationError
        from azure.identity import CredentialUnavailableError, DefaultAzureCredential
    except ImportError:
        raise missing("azure-identity", "azure") from None
    try:
        return str(DefaultAzureCredential().get_token(_SCOPE).token)
    except (ClientAuthenticationError, CredentialUnavailableError) as error:
        raise refused("Azure", str(error).splitlines()[0]) from None


def _documents(found: Sequence[Sample], now: float) -> list[dict[str, Any]]:
    """A document for each metric and its dimensions, with a series for each of their values."""
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    series: dict[tuple[str, tuple[str, ...]], list[dict[str, Any]]] = {}
    for sample in found:
        key = sample.name, tuple(sorted(sample.labels))
        values = [(float(sample.value), 1)] if not sample.counts else sample.counts
        count = sum(times for _, times in values)
        series.setdefault(key, []).append(
            {
                "dimValues": [sample.labels[name] or "-" for name in key[1]],
                "min": min(value for value, _ in values),
                "max": max(value for value, _ in values),
                "sum": sum(value * times for value, times in values),
                "count": count,
            }
        )
    return [
        {
            "time": moment,
            "data": {
                "baseData": {
                    "metric": name, "namespace": _NAMESPACE, "dimNames": list(names),
                    "series": entries,
                }
            },
        }
        for (name, names), entries in series.items()
    ]  # fmt: skip


def _post(address: str, token: str, document: dict[str, Any]) -> None:
    request = urllib.request.Request(
        address,
        msgspec.json.encode(document),
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            answer.read(1000)
    except urllib.error.HTTPError as error:
        raise refused("Azure", f"it answered {error.code}") from None
    except (OSError, ValueError) as error:
        raise refused("Azure", getattr(error, "reason", None) or type(error).__name__) from None
