"""Buckets of S3, Google Cloud Storage and Azure Blob Storage, opened by their address."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL", "STORAGE_EMULATOR_HOST"),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_RETRIES = {"max_retries": 3, "retry_timeout": datetime.timedelta(seconds=30)}


def open_bucket(url: str) -> Any:
    """The obstore store of an address; credentials come from each cloud's environment and files.

    TLS is asked for; plain HTTP is taken for an emulator on this machine only.

    Args:
        url: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`.

    Raises:
        Exception: A setting is wrong; obstore has a class of its own for each.
    """
    import obstore.store

    from_url: Any = obstore.store.from_url
    return from_url(
        url,
        client_options={"allow_http": _is_emulated(url), "timeout": "600s"},
        retry_config=_RETRIES,
    )


def _is_emulated(url: str) -> bool:
    """Whether the environment points this kind of store to an emulator on this machine."""
    scheme = {"s3a": "s3", "azure": "az", "abfs": "az", "abfss": "az"}.get(
        urlsplit(url).scheme, urlsplit(url).scheme
    )
    if scheme == "az" and os.environ.get("AZURE_STORAGE_USE_EMULATOR", "").lower() in ("1", "true"):
        return True
    endpoints = [os.environ[name] for name in _ENDPOINTS.get(scheme, ()) if name in os.environ]
    if scheme == "gs" and not endpoints:
        return _is_emulated_gcs()
    return bool(endpoints) and urlsplit(endpoints[0]).hostname in _LOOPBACK


def _is_emulated_gcs() -> bool:
    """As above: an emulator of Google's storage is named in the service account's file."""
    import msgspec

    try:
        account = msgspec.json.decode(Path(os.environ["GOOGLE_SERVICE_ACCOUNT"]).read_bytes())
        return urlsplit(account["gcs_base_url"]).hostname in _LOOPBACK
    except (KeyError, OSError, msgspec.DecodeError, TypeError):
        return False
