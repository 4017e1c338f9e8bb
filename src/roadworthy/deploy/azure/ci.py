"""How a pipeline signs in: an identity that one subject's tokens open, and what it may."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from roadworthy.deploy.azure.resource import Naming, Resource
from roadworthy.deploy.cloud.trust import AZURE_AUDIENCE, trusted
from roadworthy.project import AzureSection

CI, TRUST, RIGHT = "azure-ci", "azure-ci-trust", "azure-ci-right"
PRINCIPAL = f"{CI}.principal"
"""What `${…}` names the identity's principal by, which Azure makes up."""
_IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"
_TRUSTS = f"{_IDENTITIES}/federatedIdentityCredentials"
_RIGHTS = "Microsoft.Authorization/roleAssignments"
TRUSTS, RIGHTS = _TRUSTS.lower(), _RIGHTS.lower()
# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
_READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
_TAG_CONTRIBUTOR = "4a9ae827-6dc8-4573-8ac7-8239d42aa03f"
_CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
_ROLES = {"reads": _READER, "locks": _TAG_CONTRIBUTOR, "deploys": _CONTRIBUTOR}
_WORDS = {
    _READER: "to see what is there",
    _TAG_CONTRIBUTOR: "to hold the lock, which is a tag",
    _CONTRIBUTOR: "to bring releases, which are machines of their own",
}


def ci_resources(naming: Naming, section: AzureSection, group: str) -> tuple[Resource, ...]:
    """Identity, trust and rights; nothing where none are asked for.

    Args:
        naming: Names and tags.
        section: `[deploy.NAME]`.
        group: The part that is the resource group.
    """
    if section.ci is None:
        return ()
    whom = trusted(section.ci)
    told = section.ci.environment or section.ci.branch or "job"
    name = f"{section.ci.system}-{re.sub('[^A-Za-z0-9-]', '-', told)}"[:120]
    properties = {
        "issuer": whom.issuer, "subject": whom.subject, "audiences": [AZURE_AUDIENCE],
    }  # fmt: skip
    return (
        Resource(
            id=CI, what="an identity for the pipeline", path=_identity_path(naming), needs=(group,),
            kind=_IDENTITIES, body={"location": section.region, "tags": naming.tags(CI)},
        ),
        Resource(
            id=TRUST, path=f"{trust_path(naming)}/{name}",
            what=f"whom it is for: {whom.subject} of {whom.issuer} alone", needs=(CI,),
            kind=_TRUSTS, body={"properties": properties},
        ),
        *(_right(naming, role) for role in _wanted(section)),
    )  # fmt: skip


def _wanted(section: AzureSection) -> tuple[str, ...]:
    """A machine gets releases by SSH; those of a fleet are made of parts of the group."""
    return (_CONTRIBUTOR,) if section.fleet else (_READER, _TAG_CONTRIBUTOR)


def _right(naming: Naming, role: str) -> Resource:
    roles = f"/subscriptions/{naming.subscription}/providers/Microsoft.Authorization"
    properties = {
        "roleDefinitionId": f"{roles}/roleDefinitions/{role}",
        "principalId": f"${{{PRINCIPAL}}}",
        # an identity that was just made is not known everywhere: so it is not looked for
        "principalType": "ServicePrincipal",
    }
    word = next(word for word, each in _ROLES.items() if each == role)
    return Resource(
        id=f"{RIGHT}-{word}", what=f"what it may, in the group alone: {_WORDS[role]}",
        path=_right_path(naming, role), kind=_RIGHTS,
        body={"properties": properties}, needs=(CI,),
    )  # fmt: skip


def _right_path(naming: Naming, role: str) -> str:
    """Assignments are named by a GUID: the same for a deployment and a role, and no other."""
    name = uuid.uuid5(uuid.NAMESPACE_URL, f"{naming.group.lower()}/{role}")
    return naming.path(_RIGHTS, str(name))


def _identity_path(naming: Naming) -> str:
    return naming.path(_IDENTITIES, f"{naming.name}-ci")


def trust_path(naming: Naming) -> str:
    """Where all are that the pipeline's identity trusts."""
    return f"{_identity_path(naming)}/federatedIdentityCredentials"


def is_ours(path: str, naming: Naming) -> bool:
    """Whether something that Azure gives no tags is the deployment's, by its place."""
    inside = path.lower().startswith(f"{trust_path(naming).lower()}/")
    return inside or path.lower() in [each.lower() for each in right_paths(naming)]


def right_paths(naming: Naming) -> list[str]:
    """Where all rights are that a pipeline of the deployment can have."""
    return [_right_path(naming, role) for role in _ROLES.values()]


def variables(subscription: str, there: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What the pipeline's environment must hold.

    Args:
        subscription: The subscription.
        there: Part -> what Azure says of it.
    """
    told = there.get(CI, {}).get("properties") or {}
    if not told.get("clientId"):
        return {}
    return {
        "AZURE_CLIENT_ID": str(told["clientId"]), "AZURE_TENANT_ID": str(told.get("tenantId", "")),
        "AZURE_SUBSCRIPTION_ID": subscription,
    }  # fmt: skip
