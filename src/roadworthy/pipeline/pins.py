"""The actions that GitHub's workflows use, each pinned to the commit of its release."""

from __future__ import annotations

from typing import NamedTuple

from roadworthy.pipeline.yaml_text import Noted


class Pin(NamedTuple):
    """A release of an action.

    Attributes:
        version: Its tag.
        commit: The commit that the tag pointed to when it was looked up.
    """

    version: str
    commit: str


PINS = {
    "actions/checkout": Pin("v7.0.1", "3d3c42e5aac5ba805825da76410c181273ba90b1"),
    "actions/setup-python": Pin("v7.0.0", "5fda3b95a4ea91299a34e894583c3862153e4b97"),
    "actions/upload-artifact": Pin("v7.0.0", "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f"),
    "actions/download-artifact": Pin("v8.0.1", "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c"),
    "actions/cache": Pin("v5.0.5", "27d5ce7f107fe9357f9df03efb73ab90386fccae"),
    "docker/login-action": Pin("v4.1.0", "4907a6ddec9925e35a0a9e82d7399ccc52663121"),
    "aws-actions/configure-aws-credentials": Pin(
        "v6.2.3", "e6de054238d6b7531b4efff3b6587d9aade6a06c"
    ),
    "Azure/login": Pin("v3.0.1", "f5d393ae46f8fde4be8b75f32e3fc50e654ad0ca"),
    "google-github-actions/auth": Pin("v3.0.0", "7c6bc770dae815cd3e89ee6cdf493a5fab2cc093"),
}


def pinned(action: str) -> Noted:
    """How a step names an action: by commit, with the release as a comment."""
    pin = PINS[action]
    return Noted(f"{action}@{pin.commit}", pin.version)
