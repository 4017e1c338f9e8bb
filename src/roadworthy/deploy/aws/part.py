"""A part of a deployment on AWS: the calls that make it, as plain data."""

from __future__ import annotations

from typing import Any

import msgspec

from roadworthy.deploy.aws.call import Call
from roadworthy.deploy.cloud.prices import PAID
from roadworthy.deploy.cloud.provider import DEPLOYMENT, MODEL, PART
from roadworthy.deploy.plan import Price, Step


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part.

    Attributes:
        id: Its name, in the plan and in its tag.
        kind: Which of `roadworthy.deploy.aws.kinds` it is.
        what: What it is, in words.
        make: The call that makes it; with it, it carries its tags.
        settle: Calls after that, each of which may be repeated.
        look: Calls before it, that find what it is made of; nothing is changed by them.
        needs: Ids of parts that come before.
        price: What it costs.
    """

    id: str
    kind: str
    what: str
    make: Call
    settle: tuple[Call, ...] = ()
    look: tuple[Call, ...] = ()
    needs: tuple[str, ...] = ()
    price: Price | None = None

    @property
    def calls(self) -> tuple[Call, ...]:
        """All of them, in order."""
        return (*self.look, self.make, *self.settle)

    def step(self, region: str) -> Step:
        """The step that makes it."""
        # what is looked for and need not be there would end a line of commands
        typed = (each for each in self.calls if each not in self.look or not each.met)
        return Step(
            id=self.id,
            what=self.what,
            change="create",
            document={"calls": [call.document for call in self.calls]},
            needs=self.needs,
            command=" && ".join(each.command(region) for each in typed),
            price=self.price,
            paid=self.kind in PAID["aws"],
        )


class Naming(msgspec.Struct, frozen=True):
    """Names and tags of one deployment's parts."""

    deployment: str
    model: str

    @property
    def name(self) -> str:
        """The name of what has one."""
        return f"roadworthy-{self.deployment}"

    def tags(self, part: str) -> list[dict[str, str]]:
        """The tags of a part, and a name for the console."""
        values = {DEPLOYMENT: self.deployment, PART: part, MODEL: self.model, "Name": self.name}
        return [{"Key": key, "Value": value} for key, value in values.items()]

    def marked(self, part: str, *resources: str) -> dict[str, Any]:
        """EC2's way to tag what a call makes."""
        return {
            "TagSpecifications": [
                {"ResourceType": each, "Tags": self.tags(part)} for each in resources
            ]
        }
