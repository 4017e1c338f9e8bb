"""What a kind of part is: how it is found by its tags, compared, mended and taken away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from roadworthy.deploy.aws.account import Account
from roadworthy.deploy.aws.call import Call
from roadworthy.deploy.aws.part import Part
from roadworthy.deploy.cloud.provider import MODEL, PART

There = Mapping[str, Any]
"""What AWS says of one thing."""
Known = Mapping[str, str]
"""Part -> what AWS calls it."""


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """Something that carries a deployment's tag.

    Attributes:
        id: What AWS calls it.
        there: What AWS says of it.
        tags: Its tags.
        more: What else of it other parts name, as `${PART.NAME}`.
    """

    id: str
    there: There
    tags: Mapping[str, str]
    more: Mapping[str, str] = {}

    @property
    def part(self) -> str:
        """Which part it is."""
        return self.tags.get(PART, "")

    @property
    def model(self) -> str:
        """The model that it was made for."""
        return self.tags.get(MODEL, "")


Find = Callable[[Account, str], list[Thing]]


class Kind(NamedTuple):
    """A kind.

    Attributes:
        find: All of the kind that carries a deployment's tag.
        remove: Calls that take one away.
        differs: What is other than wanted, in words; empty: nothing.
        mend: Calls that make it as wanted, besides `Part.settle`.
        ready: Waits until one that was made can be used.
        gone: Waits until one that was taken away is no more.
    """

    find: Find
    remove: Callable[[There], list[Call]]
    differs: Callable[[There, Part, Known], str] = lambda there, part, known: ""
    mend: Callable[[There, Part, Known], list[Call]] = lambda there, part, known: []
    ready: Callable[[Account, str], None] = lambda account, name: None
    gone: Callable[[Account, str], None] = lambda account, name: None
