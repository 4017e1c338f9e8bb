"""Calls to AWS as data: filled in, shown as command lines, and judged before they are sent."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.deploy.aws.account import Account
from roadworthy.deploy.aws.call import Call
from roadworthy.deploy.cloud.filling import fill
from roadworthy.errors import InputError
from tests.deploy.aws_server import point_to

REGION = "eu-central-1"


def test_the_models_of_the_services_refuse_what_is_wrong_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    point_to("http://127.0.0.1:1", monkeypatch)  # where nobody answers
    account = Account(REGION, None)
    wrong = [
        Call(service="ec2", operation="RunInstances", parameters={
            "MinCount": 1, "MaxCount": 1, "UserData": "x" * 16_385}),
        Call(service="ec2", operation="RunInstances", parameters={
            "MinCount": 1, "MaxCount": 1, "MetadataOptions": {"HttpTokens": "sometimes"}}),
        Call(service="ec2", operation="CreateVpc", parameters={"CidrBloc": "10.0.0.0/16"}),
        Call(service="cloudwatch", operation="PutMetricAlarm", parameters={
            "AlarmName": "a", "EvaluationPeriods": 1, "ComparisonOperator": "Above"}),
        Call(service="cloudwatch", operation="PutMetricAlarm", parameters={
            "AlarmName": "a", "EvaluationPeriods": 0,
            "ComparisonOperator": "GreaterThanThreshold"}),
        Call(service="ssm", operation="PutParameter", parameters={"Name": "", "Value": "v"}),
    ]  # fmt: skip
    for each in wrong:
        with pytest.raises(InputError, match="AWS does not take"):
            account.call(each)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
VALUES = st.recursive(
    TEXT | st.integers(-1000, 1000) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_a_command_line_says_just_what_is_sent(parameters: dict[str, Any]) -> None:
    words = shlex.split(
        Call(service="ec2", operation="CreateVpc", parameters=parameters).command(REGION)
    )
    assert words[:-1] == ["aws", "ec2", "create-vpc", "--region", REGION, "--cli-input-json"]
    assert json.loads(words[-1]) == parameters


@settings(deadline=None, max_examples=50)
@given(VALUES, st.text("abcdef0123456789-", min_size=1))
def test_what_is_known_takes_the_place_of_its_name_and_nothing_else_changes(
    other: Any, name: str
) -> None:
    known = {"aws-network": name}
    assert fill({"a": ["x${aws-network}y"], "b": 7}, known) == {"a": [f"x{name}y"], "b": 7}
    if "${" not in str(other):
        assert fill(other, known) == other
    with pytest.raises(KeyError):
        fill("${aws-subnet}", known)
