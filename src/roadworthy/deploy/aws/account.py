"""Calls to AWS: checked, sent, repeated where that is safe, and their errors explained."""

from __future__ import annotations

import base64
import random
import time
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as Disconnected
from botocore.parsers import ResponseParserError

from roadworthy.deploy.aws.call import Call
from roadworthy.deploy.aws.explaining import explain, is_throttled
from roadworthy.deploy.aws.shapes import faults
from roadworthy.deploy.wanted import Content
from roadworthy.errors import InputError, OutsideError

_TRIES = 6
_PATIENT_TRIES = 14
_LONGEST_PAUSE = 20.0
_READS = ("Describe", "Get", "List", "Head")


class CutOffError(OutsideError):
    """No answer came, so it is not known whether the call was carried out."""


class Account:
    """An account in a region, by credentials from where the AWS command line finds them.

    Args:
        region: The region.
        profile: Profile of the AWS configuration; None: as the environment says.

    Raises:
        OutsideError: There is no such profile.
    """

    def __init__(self, region: str, profile: str | None) -> None:
        self.region = region
        # one attempt: a repeated Create would make a second one
        self._config = Config(
            retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60
        )
        try:
            self._session = boto3.Session(profile_name=profile, region_name=region)
        except BotoCoreError as error:
            raise explain(error, "", region) from None
        self._clients: dict[str, Any] = {}
        self._id: str | None = None

    @property
    def id(self) -> str:
        """The account's number."""
        if self._id is None:
            answer = self.call(Call(service="sts", operation="GetCallerIdentity"))
            self._id = str(answer["Account"])
        return self._id

    @property
    def partition(self) -> str:
        """The first part of the names of its resources: `aws`, `aws-cn`, `aws-us-gov`."""
        return str(self._session.get_partition_for_region(self.region))

    def client(self, service: str) -> Any:
        """The client of a service."""
        if service not in self._clients:
            try:
                self._clients[service] = self._session.client(service, config=self._config)
            except (BotoCoreError, ValueError) as error:
                raise explain(error, service, self.region) from None
        return self._clients[service]

    def check(self, call: Call) -> None:
        """Refuse a call that the service's model does not allow, with an InputError."""
        model = self.client(call.service).meta.service_model.operation_model(call.operation)
        if found := faults(model, call.parameters):
            raise InputError(
                f"AWS does not take {call.service} {call.operation}: {'; '.join(found)}",
                where=f"aws {self.region}",
                fix="correct [deploy.NAME]",
            )

    def call(self, call: Call, *, patient: bool = False) -> dict[str, Any]:
        """The answer to a call; pages are joined; an error in `met` is an empty answer.

        What AWS refused for its rate is sent again, and so is what only reads, after any fault.

        Args:
            call: The call.
            patient: Whether to send it again while what it names is not known everywhere yet, or
                is still used by what is being taken away.

        Raises:
            InputError: The call is not allowed by the service's model, or a value is wrong.
            CutOffError: It changes something, and no answer came.
            OutsideError: It is refused, as `explain` says.
        """
        self.check(call)
        tries = _PATIENT_TRIES if patient else _TRIES
        for attempt in range(tries):
            try:
                return self._send(call)
            except ClientError as error:
                code = str(error.response.get("Error", {}).get("Code", ""))
                if code in call.met:
                    return {}
                again = self._again(call, error) or (patient and _is_early(error))
                if not again or attempt == tries - 1:
                    if _is_fault(error) and not call.operation.startswith(_READS):
                        raise CutOffError(
                            f"AWS failed at {call.service} {call.operation}: {code}",
                            where=f"aws {self.region}", fix="run the same again",
                        ) from None  # fmt: skip
                    raise explain(error, f"{call.service} {call.operation}", self.region) from None
            except (Disconnected, HTTPClientError, ResponseParserError) as error:
                if not call.operation.startswith(_READS):
                    raise CutOffError(
                        f"the connection was cut at {call.service} {call.operation}",
                        where=f"aws {self.region}", fix="run the same again",
                    ) from None  # fmt: skip
                if attempt == tries - 1:
                    raise explain(error, f"{call.service} {call.operation}", self.region) from None
            except BotoCoreError as error:
                raise explain(error, f"{call.service} {call.operation}", self.region) from None
            time.sleep(random.uniform(0.5, 1) * min(0.2 * 2**attempt, _LONGEST_PAUSE))
        raise AssertionError("the last attempt returns or raises")

    def upload(self, bucket: str, key: str, content: Content) -> None:
        """Write an object, by its SHA-256, in one request; raises as `call`."""
        digest = base64.b64encode(bytes.fromhex(content.sha256)).decode()
        for attempt in range(_TRIES):
            try:
                with content.open() as body:
                    self.client("s3").put_object(
                        Bucket=bucket, Key=key, Body=body, ChecksumSHA256=digest,
                        ExpectedBucketOwner=self.id,
                    )  # fmt: skip
                return
            except (BotoCoreError, ClientError) as error:
                fault = not isinstance(error, ClientError) or _is_fault(error)
                # the same bytes under the same name: writing them again changes nothing
                if not fault or attempt == _TRIES - 1:
                    raise explain(error, "s3 PutObject", self.region) from None
            time.sleep(0.5 * 2**attempt)

    def until(self, what: str, done: Callable[[], bool], seconds: float = 1200.0) -> None:
        """Wait until something is so; OutsideError when it is not in time."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                raise OutsideError(
                    f"AWS takes too long: {what}", where=f"aws {self.region}",
                    fix="look in the AWS console; then run the same again",
                )  # fmt: skip
            time.sleep(5)

    def wait(self, service: str, waiter: str, **parameters: Any) -> None:
        """Wait until something is so; OutsideError when it will not be."""
        try:
            self.client(service).get_waiter(waiter).wait(
                **parameters, WaiterConfig={"Delay": 5, "MaxAttempts": 240}
            )
        except BotoCoreError as error:
            raise OutsideError(
                f"AWS does not get ready: {error}",
                where=f"aws {self.region}", fix="look in the AWS console; then run the same again",
            ) from None  # fmt: skip

    def _send(self, call: Call) -> dict[str, Any]:
        client = self.client(call.service)
        method = client.meta.method_to_api_mapping
        name = next(name for name, operation in method.items() if operation == call.operation)
        if client.can_paginate(name):
            found: dict[str, Any] = client.get_paginator(name).paginate(
                **call.parameters
            ).build_full_result()  # fmt: skip
            return found
        answer: dict[str, Any] = getattr(client, name)(**call.parameters)
        return answer

    def _again(self, call: Call, error: ClientError) -> bool:
        return is_throttled(error) or (_is_fault(error) and call.operation.startswith(_READS))

    def close(self) -> None:
        """End connections."""
        for client in self._clients.values():
            client.close()


def _is_early(error: ClientError) -> bool:
    waiting = ("DependencyViolation", "IncorrectInstanceState", "InvalidInstanceID",
               "ResourceInUse", "DeleteConflict", "InvalidDBInstanceState")  # fmt: skip
    code = str(error.response.get("Error", {}).get("Code", ""))
    said = str(error.response.get("Error", {}).get("Message", "")).lower().replace(" ", "")
    return code.endswith(".NotFound") or code in waiting or "iaminstanceprofile" in said


def _is_fault(error: ClientError) -> bool:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) >= 500
