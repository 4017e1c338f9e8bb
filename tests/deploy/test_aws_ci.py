"""How a pipeline is let in on AWS: by a role that trusts one subject, against moto."""

from __future__ import annotations

import fnmatch
import functools
import json
import subprocess
import uuid
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from roadworthy.deploy.aws.account import Account
from roadworthy.deploy.aws.call import Call
from roadworthy.deploy.aws.ci import CI, ci_parts, role_of
from roadworthy.deploy.aws.part import Naming
from roadworthy.deploy.aws.provider import AwsProvider
from roadworthy.deploy.cloud.filling import fill
from roadworthy.deploy.cloud.provider import DEPLOYMENT
from roadworthy.deploy.plan import Step, redone
from roadworthy.errors import RoadworthyError
from roadworthy.project import AwsSection, Ci, Instances, Project
from tests.deploy.aws_server import _ERRORS, READS, Aws, Fault, aws_server, point_to

REGION = "eu-central-1"
GITHUB = Ci(system="github", repository="acme/churn", environment="production")
PROVIDER = "oidc-provider/token.actions.githubusercontent.com"
current = SimpleNamespace(name="")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with aws_server(tmp_path_factory.mktemp("aws")) as running:
        yield running


@pytest.fixture
def aws(server: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    server.reset()
    point_to(server.url, monkeypatch)
    for module in ("account", "provider"):
        monkeypatch.setattr(f"roadworthy.deploy.aws.{module}.time.sleep", lambda seconds: None)
    for each in providers():  # an account is not emptied between tests
        iam().delete_open_id_connect_provider(OpenIDConnectProviderArn=each)
    for each in [one["RoleName"] for one in iam().list_roles()["Roles"]]:
        iam().delete_role_policy(RoleName=each, PolicyName="deploy")
        iam().delete_role(RoleName=each)
    server.calls.clear()
    current.name = f"d{uuid.uuid4().hex[:8]}"
    return server


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("key") / "identity"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place)], check=True)
    return str(place)


@functools.cache
def account() -> Account:
    return Account(REGION, None)


def iam() -> Any:
    return account().client("iam")


def section(identity: str, ci: Ci | None = GITHUB, **values: Any) -> AwsSection:
    return AwsSection(region=REGION, identity=identity, ssh_from=("192.0.2.0/24",), ci=ci,
                      alarms=False, **values)  # fmt: skip


def provider(wanted: AwsSection, name: str | None = None) -> AwsProvider:
    return AwsProvider(Naming(name or current.name, "adult"), wanted, Project(), account())


def apply(one: AwsProvider) -> list[Step]:
    """What `deploy apply` does with the infrastructure."""
    found = one.observe()
    steps = redone(one.steps(), found.steps)
    todo = [step for step in steps if step.change == "create"] + list(found.surplus)
    for step in todo:
        one.perform(step)
    return todo


def destroy(one: AwsProvider) -> None:
    one.observe()
    for step in one.removal():
        one.perform(step)


def roles(name: str | None = None) -> list[str]:
    """The deployment's roles, past our own code."""
    return [each["RoleName"] for each in iam().list_roles()["Roles"]
            if each["RoleName"].startswith(f"roadworthy-{name or current.name}-")]  # fmt: skip


def providers() -> list[str]:
    listed = iam().list_open_id_connect_providers()["OpenIDConnectProviderList"]
    return [each["Arn"] for each in listed]


def completed(run: Any) -> None:
    for _ in range(60):
        try:
            run()
        except RoadworthyError as error:
            assert error.fix  # noqa: PT017
        else:
            return
    raise AssertionError("it never completed")


def test_the_role_trusts_one_subject_and_is_made_once(aws: Aws, identity: str) -> None:
    one = provider(section(identity))
    step = next(each for each in one.steps() if each.id == CI)
    assert "repo:acme/churn:environment:production" in step.what
    assert "aws iam create-role" in step.command
    assert "aws iam create-open-id-connect-provider" in step.command
    assert CI in [each.id for each in apply(one)]
    assert apply(provider(section(identity))) == []
    (name,) = roles()
    role = iam().get_role(RoleName=name)["Role"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Principal"]["Federated"].endswith(f":{PROVIDER}")
    assert statement["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": "repo:acme/churn:environment:production",
        }
    }
    (arn,) = providers()
    found = iam().get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert found["ClientIDList"] == ["sts.amazonaws.com"]
    facts = provider(section(identity)).observe().facts
    assert (facts["AWS_ROLE_ARN"], facts["AWS_REGION"]) == (role["Arn"], REGION)
    destroy(provider(section(identity)))
    assert (roles(), providers()) == ([], [])


def test_the_provider_stays_while_others_use_it_and_goes_with_the_last(
    aws: Aws, identity: str
) -> None:
    other = f"{current.name}-other"
    for name in (None, other):
        apply(provider(section(identity), name))
    assert len(providers()) == 1
    destroy(provider(section(identity)))
    assert len(providers()) == 1
    assert apply(provider(section(identity), other)) == []
    destroy(provider(section(identity), other))
    assert providers() == []


def test_a_provider_of_yours_is_used_and_never_removed(aws: Aws, identity: str) -> None:
    iam().create_open_id_connect_provider(
        Url="https://token.actions.githubusercontent.com", ClientIDList=["theirs"]
    )
    apply(provider(section(identity)))
    (arn,) = providers()
    found = iam().get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert set(found["ClientIDList"]) == {"theirs", "sts.amazonaws.com"}
    destroy(provider(section(identity)))
    assert (roles(), providers()) == ([], [arn])


def test_who_may_not_see_the_other_roles_leaves_the_provider(
    aws: Aws, identity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(provider(section(identity)))
    # IAM has another word for it than EC2
    monkeypatch.setitem(_ERRORS, "denied", (403, "AccessDenied", "You are not authorized"))
    aws.fail = lambda operation, body: "denied" if operation == "ListRoles" else None
    destroy(provider(section(identity)))
    aws.reset()
    assert roles() == []
    assert len(providers()) == 1


def test_what_was_changed_by_hand_is_seen_and_mended(aws: Aws, identity: str) -> None:
    apply(provider(section(identity)))
    (name,) = roles()
    iam().put_role_policy(
        RoleName=name, PolicyName="deploy", PolicyDocument='{"Version": "2012-10-17", '
        '"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}',
    )  # fmt: skip
    iam().attach_role_policy(RoleName=name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    trust = iam().get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    (statement,) = trust["Statement"]
    statement["Condition"] = {"StringLike": {f"{PROVIDER[14:]}:sub": "repo:acme/*"}}
    iam().update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
    found = provider(section(identity)).observe()
    assert found.differences == {
        CI: "trusts another subject, may do something else, has other policies too"
    }
    assert [each.id for each in apply(provider(section(identity)))] == [CI]
    assert apply(provider(section(identity))) == []
    assert iam().list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []


def test_another_system_is_trusted_in_the_place_of_the_first(aws: Aws, identity: str) -> None:
    apply(provider(section(identity)))
    other = Ci(system="gitlab", repository="acme/models/churn", branch="main")
    apply(provider(section(identity, other)))
    assert apply(provider(section(identity, other))) == []
    assert [each.partition("/")[2] for each in providers()] == ["gitlab.com"]
    destroy(provider(section(identity, other)))
    assert providers() == []


def test_a_section_that_asks_no_more_takes_the_role_away(aws: Aws, identity: str) -> None:
    apply(provider(section(identity)))
    assert len(apply(provider(section(identity, None)))) == 1
    assert (roles(), providers()) == ([], [])
    assert apply(provider(section(identity, None))) == []


def test_who_asks_for_no_pipeline_needs_no_permission_in_iam(aws: Aws, identity: str) -> None:
    apply(provider(section(identity, None)))
    assert not {"GetRole", "ListRoles", "GetOpenIDConnectProvider"} & set(aws.calls)


def test_a_name_that_is_taken_by_a_role_of_yours_is_left_alone(aws: Aws, identity: str) -> None:
    name = role_of(Naming(current.name, ""), REGION)
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"},
         "Action": "sts:AssumeRole"}]}  # fmt: skip
    iam().create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    with pytest.raises(RoadworthyError, match="EntityAlreadyExists"):
        apply(provider(section(identity)))
    destroy(provider(section(identity)))
    assert roles() == [name]
    assert iam().get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"] == trust
    iam().delete_role(RoleName=name)


@pytest.mark.parametrize("fault", ["cut before", "cut after", "fault", "denied"])
def test_a_failure_at_every_call_leaves_nothing_double_and_a_rerun_completes(
    aws: Aws, identity: str, fault: Fault
) -> None:
    apply(provider(section(identity, None)))
    seen: set[str] = set()

    def fail(operation: str, body: bytes) -> Fault | None:
        if operation.startswith(READS) or operation in seen:
            return None
        seen.add(operation)
        return fault

    aws.fail = fail
    completed(lambda: apply(provider(section(identity))))
    aws.fail = lambda operation, body: None
    assert apply(provider(section(identity))) == []
    assert {"CreateRole", "CreateOpenIDConnectProvider", "PutRolePolicy"} <= seen
    assert (len(roles()), len(providers())) == (1, 1)
    seen.clear()
    aws.fail = fail
    completed(lambda: destroy(provider(section(identity))))
    assert {"DeleteRole", "DeleteOpenIDConnectProvider", "DeleteRolePolicy"} <= seen
    assert (roles(), providers()) == ([], [])


def policy_of(wanted: AwsSection) -> list[dict[str, Any]]:
    (part,) = ci_parts(Naming("prod", "adult"), wanted)
    put = next(each for each in part.settle if each.operation == "PutRolePolicy")
    known = {"account": "123456789012", "partition": "aws"}
    text = fill(put.parameters["PolicyDocument"], known)
    assert len("".join(text.split())) <= 10_240  # the limit of all policies in a role
    return list(json.loads(text)["Statement"])


SECTIONS = {
    "a machine": {},
    "a machine without a port": {"access": "ssm"},
    "a machine and a registry": {"database": "db.t4g.micro", "database_from": ("192.0.2.0/24",)},
    "a fleet": {"instances": Instances(), "secrets": ("TOKEN",),
                "certificate": "arn:aws:acm:eu-central-1:123456789012:certificate/" + "0" * 36},
}  # fmt: skip


@pytest.mark.parametrize("kind", SECTIONS)
def test_what_the_role_may_change_is_the_deployments_alone(kind: str, identity: str) -> None:
    values = dict(SECTIONS[kind])
    for statement in policy_of(section(identity, **values)):
        (resources,) = [statement["Resource"]]
        for each in [resources] if isinstance(resources, str) else resources:
            own = any(word in each for word in ("roadworthy", "rw-6754af96", "certificate/"))
            assert own or "Condition" in statement or "AWS-StartSSHSession" in each or (
                statement["Action"] == ["iam:GetOpenIDConnectProvider"]
                or "${aws:userid}" in each
            ), statement  # fmt: skip
        assert not any("*" in action for action in statement["Action"])


@pytest.mark.parametrize("kind", SECTIONS)
def test_the_role_can_neither_widen_itself_nor_make_or_take_infrastructure(
    kind: str, identity: str
) -> None:
    actions = {action for statement in policy_of(section(identity, **dict(SECTIONS[kind])))
               for action in statement["Action"]}  # fmt: skip
    changing = {each for each in actions if each.startswith("iam:")} - {
        "iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:PassRole",
        "iam:GetInstanceProfile", "iam:GetOpenIDConnectProvider",
    }  # fmt: skip
    assert changing == set()
    refused = ("ec2:CreateVpc", "ec2:TerminateInstances", "ec2:AuthorizeSecurityGroupIngress",
               "s3:DeleteBucket", "rds:DeleteDBInstance", "sns:DeleteTopic")  # fmt: skip
    assert not actions & set(refused)
    assert ("ec2:RunInstances" in actions) == ("instances" in SECTIONS[kind])


def test_the_role_may_do_all_that_a_second_apply_does(
    aws: Aws, identity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = section(identity, notify=("ops@example.org",))
    wanted = msgspec.structs.replace(wanted, alarms=True)
    apply(provider(wanted))
    asked, send = Counter[str](), Account._send

    def noting(self: Account, call: Call) -> dict[str, Any]:
        asked[f"{call.service}:{call.operation}"] += 1
        return send(self, call)

    monkeypatch.setattr(Account, "_send", noting)
    again = provider(wanted)
    with again.lock():
        assert apply(again) == []
    actions = [action for each in policy_of(wanted) for action in each["Action"]]
    # who others' roles are is only asked where it may be known, and who one is needs no permission
    lacking = {each for each in asked if not any(fnmatch.fnmatch(each, one) for one in actions)}
    assert lacking - {"sts:GetCallerIdentity"} == {"iam:ListRoles"}
    destroy(provider(wanted))  # the role of the machine as well


def test_the_tag_by_which_everything_is_found_is_not_on_what_is_shared(
    aws: Aws, identity: str
) -> None:
    apply(provider(section(identity)))
    (arn,) = providers()
    marks = iam().list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)["Tags"]
    assert DEPLOYMENT not in {each["Key"] for each in marks}
    (tenant,) = [each for each in provider(section(identity)).tenants()
                 if each.deployment == current.name]  # fmt: skip
    assert not any(PROVIDER in each for each in tenant.parts)
