"""Single tags of what is there, written and removed without touching the others."""

from __future__ import annotations

from collections.abc import Mapping

from roadworthy.deploy.azure.account import Account

_VERSION = "2021-04-01"
_PLACE = "/providers/Microsoft.Resources/tags/default"


def merge_tags(account: Account, path: str, tags: Mapping[str, str]) -> None:
    """Write tags; others stay as they are."""
    _change(account, path, "Merge", tags)


def remove_tags(account: Account, path: str, tags: Mapping[str, str]) -> None:
    """Take tags away whose values are these."""
    _change(account, path, "Delete", tags)


def _change(account: Account, path: str, operation: str, tags: Mapping[str, str]) -> None:
    body = {"operation": operation, "properties": {"tags": dict(tags)}}
    account.change("PATCH", f"{path}{_PLACE}", _VERSION, body)
