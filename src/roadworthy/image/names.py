"""Names of images: checked here, so that no engine's own complaint has to be read."""

from __future__ import annotations

import re

from roadworthy.errors import InputError

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_NAME = re.compile(
    rf"(?:(?P<host>{_HOST})/)?(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
)
"""The grammar of references (https://github.com/distribution/reference)."""


def check_tag(text: str) -> str:
    """A name and tag to give an image; `latest` when none is named.

    Raises:
        InputError: It is no name that an image can have.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        raise InputError(
            f"{text!r} is no name for an image",
            fix="use lower-case letters, digits, '-', '_', '.': registry.example/team/adult:1",
        )
    return text if match["tag"] else f"{text}:latest"
