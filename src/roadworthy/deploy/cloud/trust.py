"""What a cloud must be told to trust a pipeline's tokens, and nobody else's.

`roadworthy pipeline --trust` prints it; with `ci` in `[deploy.NAME]`, `deploy apply` makes it. A CI
system signs a token that says who runs (its subject). The documents here name that subject
exactly, never by a pattern, so that another repository, branch or environment gets nothing.

Sources: GitHub's, GitLab's and Jenkins' pages on OpenID Connect; the clouds' on federation.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from roadworthy.errors import InputError
from roadworthy.project import Ci

_PATH = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)+")
_ISSUERS = {
    "github": "https://token.actions.githubusercontent.com",
    "gitlab": "https://gitlab.com",
}
AWS_AUDIENCE = "sts.amazonaws.com"
AZURE_AUDIENCE = "api://AzureADTokenExchange"


class Trusted(NamedTuple):
    """Whose tokens are taken.

    Attributes:
        issuer: The address of who signs them.
        subject: Who they must say runs.
    """

    issuer: str
    subject: str

    @property
    def host(self) -> str:
        """The issuer without `https://`."""
        return self.issuer.removeprefix("https://")


def trusted(ci: Ci) -> Trusted:
    """Whose tokens `[deploy.NAME] ci` asks to be taken; raises as `trust_document`."""
    return Trusted(
        _issuer(ci.system, ci.issuer),
        _subject(ci.system, ci.repository, ci.branch or "", ci.environment),
    )


def trust_document(
    cloud: str,
    system: str,
    repository: str,
    branch: str,
    *,
    environment: str | None = None,
    issuer: str | None = None,
    account: str | None = None,
) -> dict[str, Any]:
    """What a cloud must be told.

    Args:
        cloud: `aws`, `azure` or `gcp`.
        system: `github`, `gitlab` or `jenkins`.
        repository: `OWNER/NAME`; a path of groups in GitLab; the address of the job in Jenkins.
        branch: The branch of releases.
        environment: The environment that jobs run in; only GitHub puts it into the subject.
        issuer: The address of an own GitLab or Jenkins.
        account: AWS' account of 12 digits, or the number of Google's project.

    Returns:
        AWS: the provider and the role's trust policy. Azure: a federated identity credential.
        Google: a provider of a workload identity pool, and who is bound to the service account.

    Raises:
        InputError: The repository, issuer or account is not one.
    """
    whom = Trusted(_issuer(system, issuer), _subject(system, repository, branch, environment))
    if cloud == "aws":
        return _aws(whom, account)
    if cloud == "azure":
        name = re.sub(r"[^A-Za-z0-9-]", "-", f"{system}-{environment or branch}")
        return {
            "name": name,
            "issuer": whom.issuer,
            "subject": whom.subject,
            "audiences": [AZURE_AUDIENCE],
            "description": f"Roadworthy: {environment or branch}",
        }
    return _google(system, whom, account)


def _issuer(system: str, issuer: str | None) -> str:
    address = issuer or _ISSUERS.get(system)
    if address is None:
        raise InputError("who signs the tokens is not said", fix="--issuer https://jenkins.example")
    parts = urlsplit(address)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.username:
        raise InputError("the issuer is no address", where="--issuer", fix="https://HOST")
    if system == "jenkins" and not parts.path.rstrip("/").endswith("/oidc"):
        address = address.rstrip("/") + "/oidc"
    return address.rstrip("/")


def _subject(system: str, repository: str, branch: str, environment: str | None) -> str:
    if environment is not None and not re.fullmatch(r"[A-Za-z0-9][\w-]*", environment):
        raise InputError("this is no environment", where="--environment", fix="staging, production")
    if system == "jenkins":
        if urlsplit(repository).scheme not in ("http", "https"):
            raise InputError(
                "this is no address of a job", where="--repository", fix="https://HOST/job/NAME/"
            )
        return repository.rstrip("/") + "/"
    if not _PATH.fullmatch(repository) or (system == "github" and repository.count("/") != 1):
        raise InputError("this is no repository", where="--repository", fix="OWNER/NAME")
    if system == "gitlab":
        return f"project_path:{repository}:ref_type:branch:ref:{branch}"
    if environment is not None:
        return f"repo:{repository}:environment:{environment}"
    return f"repo:{repository}:ref:refs/heads/{branch}"


def _aws(whom: Trusted, account: str | None) -> dict[str, Any]:
    if account is None or not re.fullmatch(r"\d{12}", account):
        raise InputError(
            "AWS' account is 12 digits", where="--account", fix="--account 123456789012"
        )
    provider = f"arn:aws:iam::{account}:oidc-provider/{whom.host}"
    return {
        "OpenIDConnectProvider": {"Url": whom.issuer, "ClientIDList": [AWS_AUDIENCE]},
        "AssumeRolePolicyDocument": aws_trust(whom, provider),
    }


def aws_trust(whom: Trusted, provider: str) -> dict[str, Any]:
    """The trust policy of a role that one subject may assume.

    Args:
        whom: The subject, and who signs for it.
        provider: ARN of the provider of OpenID Connect.
    """
    condition = {f"{whom.host}:aud": AWS_AUDIENCE, f"{whom.host}:sub": whom.subject}
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": provider},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": condition},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def google_condition(whom: Trusted) -> str:
    """The condition, in the Common Expression Language, that only the subject's tokens meet."""
    quoted = whom.subject.replace("\\", "\\\\").replace("'", "\\'")
    return f"assertion.sub == '{quoted}'"


def _google(system: str, whom: Trusted, account: str | None) -> dict[str, Any]:
    if account is None or not re.fullmatch(r"\d{6,20}", account):
        raise InputError(
            "the number of Google's project is not said",
            where="--account",
            fix="--account 1234567890",
        )
    pool = f"projects/{account}/locations/global/workloadIdentityPools/roadworthy"
    provider = f"{pool}/providers/{system}"
    return {
        "WorkloadIdentityPoolProvider": {
            "name": provider,
            "displayName": "Roadworthy",
            "oidc": {
                "issuerUri": whom.issuer,
                "allowedAudiences": [f"https://iam.googleapis.com/{provider}"],
            },
            "attributeMapping": {"google.subject": "assertion.sub"},
            "attributeCondition": google_condition(whom),
        },
        "ServiceAccountBinding": {
            "role": "roles/iam.workloadIdentityUser",
            "members": [f"principal://iam.googleapis.com/{pool}/subject/{whom.subject}"],
        },
    }
