"""A call of the AWS API as plain data: what a plan holds, and what is sent."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import msgspec
from botocore import xform_name

from roadworthy.deploy.cloud.filling import fill


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call.

    Attributes:
        service: As botocore names it.
        operation: As the API names it, like `CreateVpc`.
        parameters: Its parameters; `${PART}` stands for what AWS names PART when it is made.
        met: Codes of errors that say it was done before.
    """

    service: str
    operation: str
    parameters: dict[str, Any] = {}
    met: tuple[str, ...] = ()

    def filled(self, known: Mapping[str, str]) -> Call:
        """The call with what is known in the place of `${…}`; KeyError for what is not."""
        return msgspec.structs.replace(self, parameters=fill(self.parameters, known))

    @property
    def document(self) -> dict[str, Any]:
        """What people and machines see of it."""
        return {"service": self.service, "operation": self.operation, **self.parameters}

    def command(self, region: str) -> str:
        """The command line that does the same."""
        # the AWS command line names its commands by this very function; its s3 is something else
        service = {"s3": "s3api"}.get(self.service, self.service)
        line = ["aws", service, xform_name(self.operation, "-"), "--region", region]
        given = msgspec.json.encode(self.parameters).decode()
        return shlex.join([*line, "--cli-input-json", given])


def call(service: str, operation: str, met: tuple[str, ...] = (), /, **parameters: Any) -> Call:
    """A call."""
    return Call(service=service, operation=operation, parameters=parameters, met=met)


def tags(found: Mapping[str, Any], key: str = "Tags") -> dict[str, str]:
    """Tags of an answer of the API, by name."""
    return {each["Key"]: each["Value"] for each in found.get(key) or ()}
