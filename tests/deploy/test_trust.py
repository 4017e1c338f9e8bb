"""What clouds are told, so that they trust one pipeline and nobody else."""

from __future__ import annotations

import json

import pytest

from roadworthy.deploy.cloud.trust import trust_document
from roadworthy.errors import InputError

REPOSITORIES = {
    "github": "acme/churn",
    "gitlab": "acme/models/churn",
    "jenkins": "https://ci.example/job/churn/",
}
SUBJECTS = {
    "github": "repo:acme/churn:environment:production",
    "gitlab": "project_path:acme/models/churn:ref_type:branch:ref:main",
    "jenkins": "https://ci.example/job/churn/",
}
ISSUERS = {
    "github": "https://token.actions.githubusercontent.com",
    "gitlab": "https://gitlab.com",
    "jenkins": "https://ci.example/oidc",
}


def document(cloud: str, system: str, **options: str) -> dict:
    wanted = {"environment": "production", "account": "123456789012", **options}
    if system == "jenkins":
        wanted["issuer"] = "https://ci.example"
    repository = wanted.pop("repository", REPOSITORIES[system])
    return trust_document(cloud, system, repository, "main", **wanted)


@pytest.mark.parametrize("system", REPOSITORIES)
def test_aws_takes_one_subject_and_one_audience_and_no_pattern(system: str) -> None:
    found = document("aws", system)
    host = ISSUERS[system].removeprefix("https://")
    assert found["OpenIDConnectProvider"] == {
        "Url": ISSUERS[system], "ClientIDList": ["sts.amazonaws.com"],
    }  # fmt: skip
    [statement] = found["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Principal"] == {
        "Federated": f"arn:aws:iam::123456789012:oidc-provider/{host}"
    }
    assert statement["Condition"] == {
        "StringEquals": {f"{host}:aud": "sts.amazonaws.com", f"{host}:sub": SUBJECTS[system]}
    }
    assert "*" not in json.dumps(found)


@pytest.mark.parametrize("system", REPOSITORIES)
def test_azure_takes_one_subject(system: str) -> None:
    found = document("azure", system)
    assert found["subject"] == SUBJECTS[system]
    assert found["issuer"] == ISSUERS[system]
    assert found["audiences"] == ["api://AzureADTokenExchange"]
    assert len(found["name"]) >= 3


@pytest.mark.parametrize("system", REPOSITORIES)
def test_google_maps_the_subject_and_binds_it_alone(system: str) -> None:
    found = document("gcp", system)
    provider = found["WorkloadIdentityPoolProvider"]
    assert provider["attributeCondition"] == f"assertion.sub == '{SUBJECTS[system]}'"
    assert provider["oidc"]["issuerUri"] == ISSUERS[system]
    audience = f"https://iam.googleapis.com/{provider['name']}"
    assert provider["oidc"]["allowedAudiences"] == [audience]
    [member] = found["ServiceAccountBinding"]["members"]
    assert member.startswith("principal://")
    assert member.endswith(f"/subject/{SUBJECTS[system]}")


def test_without_an_environment_the_branch_is_trusted() -> None:
    found = trust_document("azure", "github", "acme/churn", "main")
    assert found["subject"] == "repo:acme/churn:ref:refs/heads/main"


def test_aws_accepts_the_documents_and_stores_them() -> None:
    import boto3
    from moto import mock_aws

    found = document("aws", "github")
    with mock_aws():
        iam = boto3.client(
            "iam", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        iam.create_open_id_connect_provider(
            **found["OpenIDConnectProvider"], ThumbprintList=["a" * 40]
        )
        policy = json.dumps(found["AssumeRolePolicyDocument"])
        role = iam.create_role(RoleName="deploy", AssumeRolePolicyDocument=policy)["Role"]
        assert role["AssumeRolePolicyDocument"] == found["AssumeRolePolicyDocument"]


@pytest.mark.parametrize(
    ("cloud", "system", "options", "what"),
    [
        ("aws", "github", {"account": "12"}, "12 digits"),
        ("gcp", "github", {"account": "my-project"}, "number of Google's project"),
        ("aws", "github", {"repository": "acme"}, "no repository"),
        ("aws", "github", {"repository": "acme/*"}, "no repository"),
        ("aws", "github", {"repository": "a/b/c"}, "no repository"),
        ("azure", "gitlab", {"repository": "a/b:ref"}, "no repository"),
        ("azure", "github", {"environment": "a:b"}, "no environment"),
        ("azure", "gitlab", {"issuer": "http://gitlab.example"}, "no address"),
        ("azure", "jenkins", {"repository": "acme/churn"}, "no address of a job"),
    ],
)
def test_what_would_trust_somebody_else_is_refused(
    cloud: str, system: str, options: dict[str, str], what: str
) -> None:
    with pytest.raises(InputError, match=what):
        document(cloud, system, **options)
