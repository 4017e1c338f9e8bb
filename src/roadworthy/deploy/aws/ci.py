"""How a pipeline signs in: a role that deploys releases, and that one subject's tokens open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from roadworthy.deploy.aws.account import Account
from roadworthy.deploy.aws.call import Call, call, tags
from roadworthy.deploy.aws.ci_policy import ci_policy
from roadworthy.deploy.aws.kind import Kind, Known, There, Thing
from roadworthy.deploy.aws.part import Naming, Part
from roadworthy.deploy.aws.wanted import FIREWALL
from roadworthy.deploy.cloud.provider import DEPLOYMENT
from roadworthy.deploy.cloud.trust import AWS_AUDIENCE, aws_trust, trusted
from roadworthy.project import AwsSection

CI = "aws-ci"
CI_MARK = "roadworthy-ci"
"""The tag of a firewall that says: there is a role, too. Who has none need not look for it."""
SHARED = "roadworthy-shared"
"""The tag of a provider that Roadworthy made; deployments of an account share it."""
POLICY = "deploy"
_GONE = ("NoSuchEntity",)


def role_of(naming: Naming, region: str) -> str:
    """The role's name; roles are of an account, not of a region."""
    return f"{naming.name}-{region}-ci"


def ci_parts(naming: Naming, section: AwsSection) -> tuple[Part, ...]:
    """The role, with the provider by which AWS checks tokens; nothing where none is asked for."""
    if section.ci is None:
        return ()
    whom, name = trusted(section.ci), role_of(naming, section.region)
    provider = f"arn:${{partition}}:iam::${{account}}:oidc-provider/{whom.host}"
    shared = [{"Key": SHARED, "Value": "ci"}]
    return (
        Part(
            id=CI, kind="ci role",
            what=f"a role for the pipeline, to deploy releases and no more; it trusts "
            f"{whom.subject} of {whom.issuer} alone",
            make=call("iam", "CreateRole", RoleName=name, Tags=naming.tags(CI),
                      AssumeRolePolicyDocument=_json(aws_trust(whom, provider))),
            settle=(
                call("ec2", "CreateTags", Resources=[f"${{{FIREWALL}}}"],
                     Tags=[{"Key": CI_MARK, "Value": name}]),
                call("iam", "CreateOpenIDConnectProvider", ("EntityAlreadyExists",),
                     Url=whom.issuer, ClientIDList=[AWS_AUDIENCE], Tags=shared),
                call("iam", "AddClientIDToOpenIDConnectProvider", _GONE, ClientID=AWS_AUDIENCE,
                     OpenIDConnectProviderArn=provider),
                call("iam", "PutRolePolicy", RoleName=name, PolicyName=POLICY,
                     PolicyDocument=_json(ci_policy(naming, section, name, provider))),
            ),
            needs=(FIREWALL,),
        ),
    )  # fmt: skip


def variables(things: Mapping[str, There], region: str) -> dict[str, str]:
    """What the pipeline's environment must hold.

    Args:
        things: Part -> what AWS says of it.
        region: The region.
    """
    role = things.get(CI)
    return {"AWS_ROLE_ARN": str(role["Arn"]), "AWS_REGION": region} if role else {}


def _find(account: Account, deployment: str) -> list[Thing]:
    name = role_of(Naming(deployment, ""), account.region)
    role = account.call(call("iam", "GetRole", _GONE, RoleName=name)).get("Role")
    if role is None or tags(role).get(DEPLOYMENT) != deployment:
        return []
    asked = call("iam", "GetRolePolicy", _GONE, RoleName=name, PolicyName=POLICY)
    policy = account.call(asked).get("PolicyDocument")
    listed = account.call(call("iam", "ListAttachedRolePolicies", _GONE, RoleName=name))
    attached = [each["PolicyArn"] for each in listed.get("AttachedPolicies") or ()]
    providers = [_provider(account, each, name) for each in _providers(role)]
    there = {**role, "policy": policy, "attached": attached, "providers": providers}
    return [Thing(id=name, there=there, tags=tags(role))]


def _providers(role: There) -> list[str]:
    """The providers of OpenID Connect that a role's trust policy names."""
    statements = (role.get("AssumeRolePolicyDocument") or {}).get("Statement") or []
    statements = [statements] if isinstance(statements, dict) else statements
    principals = [each.get("Principal") for each in statements]
    found = [each.get("Federated") for each in principals if isinstance(each, dict)]
    flat = [one for each in found for one in (each if isinstance(each, list) else [each])]
    return [each for each in flat if each and ":oidc-provider/" in each]


def _provider(account: Account, provider: str, name: str) -> dict[str, Any]:
    """A provider: what it takes, and whether it goes with the last role that trusts it."""
    asked = call("iam", "GetOpenIDConnectProvider", _GONE, OpenIDConnectProviderArn=provider)
    found = account.call(asked)
    surplus = False
    if SHARED in tags(found):
        # who may not see the others' roles leaves the provider to them
        answer = account.call(call("iam", "ListRoles", ("AccessDenied",)))
        users = [each["RoleName"] for each in answer.get("Roles") or () if provider in
                 _providers(each)]  # fmt: skip
        surplus = users == [name]
    return {"arn": provider, "audiences": found.get("ClientIDList") or [], "surplus": surplus}


def _differs(there: There, part: Part, known: Known) -> str:
    wanted = part.make.filled(known).parameters
    asked = {each.operation: each.filled({FIREWALL: "", **known}).parameters
             for each in part.settle}  # fmt: skip
    trust, said = json.loads(wanted["AssumeRolePolicyDocument"]), []
    if there["AssumeRolePolicyDocument"] != trust:
        said.append("trusts another subject")
    if there["policy"] != json.loads(asked["PutRolePolicy"]["PolicyDocument"]):
        said.append("may do something else")
    if there["attached"]:
        said.append("has other policies too")
    provider = asked["AddClientIDToOpenIDConnectProvider"]["OpenIDConnectProviderArn"]
    if not any(each["arn"] == provider and AWS_AUDIENCE in each["audiences"]
               for each in there["providers"]):  # fmt: skip
        said.append("its tokens cannot be checked")
    return ", ".join(said)


def _mend(there: There, part: Part, known: Known) -> list[Call]:
    """What nobody asked for goes; what is wanted comes right after, by `settle`."""
    wanted = part.make.filled(known).parameters
    kept = _providers({"AssumeRolePolicyDocument": json.loads(wanted["AssumeRolePolicyDocument"])})
    return [
        *_detach(there),
        call("iam", "UpdateAssumeRolePolicy", RoleName=there["RoleName"],
             PolicyDocument=wanted["AssumeRolePolicyDocument"]),
        *(each for each in _providers_removed(there)
          if each.parameters["OpenIDConnectProviderArn"] not in kept),
    ]  # fmt: skip


def _detach(there: There) -> list[Call]:
    return [call("iam", "DetachRolePolicy", _GONE, RoleName=there["RoleName"], PolicyArn=each)
            for each in there["attached"]]  # fmt: skip


def _providers_removed(there: There) -> list[Call]:
    return [call("iam", "DeleteOpenIDConnectProvider", _GONE, OpenIDConnectProviderArn=each["arn"])
            for each in there["providers"] if each["surplus"]]  # fmt: skip


def _remove(there: There) -> list[Call]:
    """The provider first: without the role nobody would know that it is not used any more."""
    name = there["RoleName"]
    return [
        *_providers_removed(there),
        *_detach(there),
        call("iam", "DeleteRolePolicy", _GONE, RoleName=name, PolicyName=POLICY),
        call("iam", "DeleteRole", _GONE, RoleName=name),
    ]


def _json(document: dict[str, Any]) -> str:
    return msgspec.json.encode(document).decode()


CI_KINDS = {"ci role": Kind(_find, _remove, _differs, _mend)}
"""Kind -> how it is looked after."""
