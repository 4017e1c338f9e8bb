"""The kinds of parts that a fleet stands on: secrets, logs, role, bucket."""

from __future__ import annotations

import json

from roadworthy.deploy.aws.account import Account
from roadworthy.deploy.aws.call import Call, call, tags
from roadworthy.deploy.aws.fleet.wanted import BUCKET, bucket_of
from roadworthy.deploy.aws.kind import Kind, Known, There, Thing
from roadworthy.deploy.aws.part import Naming, Part
from roadworthy.deploy.aws.role import POLICY
from roadworthy.deploy.aws.telling import log_group_of
from roadworthy.deploy.cloud.provider import DEPLOYMENT, PART


def _find_secrets(account: Account, deployment: str) -> list[Thing]:
    asked = call("secretsmanager", "ListSecrets",
                 Filters=[{"Key": "name", "Values": [f"roadworthy/{deployment}/"]}])  # fmt: skip
    found = account.call(asked).get("SecretList") or []
    return [
        Thing(id=each["Name"], there=each, tags=tags(each)) for each in found
        if tags(each).get(DEPLOYMENT) == deployment
    ]  # fmt: skip


def _remove_secret(there: There) -> list[Call]:
    return [call("secretsmanager", "DeleteSecret", ("ResourceNotFoundException",),
                 SecretId=there["Name"], ForceDeleteWithoutRecovery=True)]  # fmt: skip


def _find_logs(account: Account, deployment: str) -> list[Thing]:
    name = log_group_of(Naming(deployment, ""))
    answer = account.call(call("logs", "DescribeLogGroups", logGroupNamePrefix=name))
    found = []
    for each in answer.get("logGroups") or []:
        if each["logGroupName"] == name:
            resource = str(each["arn"]).removesuffix(":*")
            asked = call("logs", "ListTagsForResource", resourceArn=resource)
            marks = account.call(asked).get("tags") or {}
            if marks.get(DEPLOYMENT) == deployment:
                found.append(Thing(id=name, there=each, tags=marks))
    return found


def _logs_differ(there: There, part: Part, known: Known) -> str:
    days, wanted = there.get("retentionInDays"), part.settle[0].parameters["retentionInDays"]
    return "" if days == wanted else f"{days or 'endless'} days"


def _remove_logs(there: There) -> list[Call]:
    return [call("logs", "DeleteLogGroup", ("ResourceNotFoundException",),
                 logGroupName=there["logGroupName"])]  # fmt: skip


def _role_name(account: Account, deployment: str) -> str:
    return f"{Naming(deployment, '').name}-{account.region}"


def _find_roles(account: Account, deployment: str) -> list[Thing]:
    name, gone = _role_name(account, deployment), ("NoSuchEntity",)
    role = account.call(call("iam", "GetRole", gone, RoleName=name)).get("Role")
    if role is None or tags(role).get(DEPLOYMENT) != deployment:
        return []
    asked = call("iam", "GetRolePolicy", gone, RoleName=name, PolicyName=POLICY)
    policy = account.call(asked).get("PolicyDocument")
    listed = account.call(call("iam", "ListAttachedRolePolicies", gone, RoleName=name))
    attached = [each["PolicyArn"] for each in listed.get("AttachedPolicies") or ()]
    there = {**role, "policy": policy, "attached": attached}
    return [Thing(id=name, there=there, tags=tags(role))]


def _role_differs(there: There, part: Part, known: Known) -> str:
    asked = [each.filled(known).parameters for each in part.settle]
    wanted = [each["PolicyDocument"] for each in asked if "PolicyDocument" in each]
    same = there["policy"] == (json.loads(wanted[0]) if wanted else None)
    same = same and there["attached"] == [
        each["PolicyArn"] for each in asked if "PolicyArn" in each
    ]
    return "" if same else "may do something else"


def _mend_role(there: There, part: Part, known: Known) -> list[Call]:
    """What it may besides goes; what is wanted comes again right after, by `settle`."""
    own = any(each.operation == "PutRolePolicy" for each in part.settle)
    return [*_detach(there), *(() if own else _forget(there))]


def _forget(there: There) -> list[Call]:
    if there["policy"] is None:
        return []
    return [call("iam", "DeleteRolePolicy", ("NoSuchEntity",), RoleName=there["RoleName"],
                 PolicyName=POLICY)]  # fmt: skip


def _detach(there: There) -> list[Call]:
    return [
        call("iam", "DetachRolePolicy", ("NoSuchEntity",), RoleName=there["RoleName"],
             PolicyArn=each)
        for each in there["attached"]
    ]  # fmt: skip


def _remove_role(there: There) -> list[Call]:
    name, gone = there["RoleName"], ("NoSuchEntity",)
    return [
        *_detach(there),
        *_forget(there),
        call("iam", "DeleteRole", gone, RoleName=name),
    ]


def _find_profiles(account: Account, deployment: str) -> list[Thing]:
    name = _role_name(account, deployment)
    asked = call("iam", "GetInstanceProfile", ("NoSuchEntity",), InstanceProfileName=name)
    found = account.call(asked).get("InstanceProfile")
    if found is None or tags(found).get(DEPLOYMENT) != deployment:
        return []
    return [Thing(id=name, there=found, tags=tags(found))]


def _profile_differs(there: There, part: Part, known: Known) -> str:
    return "" if there.get("Roles") else "without the role"


def _remove_profile(there: There) -> list[Call]:
    name, gone = there["InstanceProfileName"], ("NoSuchEntity",)
    return [
        *(call("iam", "RemoveRoleFromInstanceProfile", gone, InstanceProfileName=name,
               RoleName=each["RoleName"]) for each in there.get("Roles") or ()),
        call("iam", "DeleteInstanceProfile", gone, InstanceProfileName=name),
    ]  # fmt: skip


def _find_buckets(account: Account, deployment: str) -> list[Thing]:
    name = bucket_of(Naming(deployment, ""), account.region, account.id)
    return find_bucket(account, deployment, BUCKET, name)


def find_bucket(account: Account, deployment: str, part: str, name: str) -> list[Thing]:
    """A bucket of the deployment, by its name.

    Args:
        account: Where.
        deployment: Whose.
        part: Which part it is.
        name: Its name, which holds the account's number.
    """
    gone = ("404", "NoSuchBucket")
    asked = call("s3", "HeadBucket", gone, Bucket=name, ExpectedBucketOwner=account.id)
    if not account.call(asked):
        return []
    marks = tags(
        account.call(call("s3", "GetBucketTagging", ("NoSuchTagSet", *gone), Bucket=name)),
        "TagSet",
    )
    # the name is the deployment's and the account's; a run that was cut off had not tagged it yet
    if marks and marks.get(DEPLOYMENT) != deployment:
        return []
    closed = account.call(
        call("s3", "GetPublicAccessBlock", ("NoSuchPublicAccessBlockConfiguration", *gone),
             Bucket=name)
    ).get("PublicAccessBlockConfiguration", {})  # fmt: skip
    listed = account.call(call("s3", "ListObjectsV2", gone, Bucket=name)).get("Contents") or []
    there = {"Bucket": name, "marks": marks, "closed": closed,
             "keys": [each["Key"] for each in listed]}  # fmt: skip
    return [Thing(id=name, there=there, tags={DEPLOYMENT: deployment, PART: part} | marks)]


def _bucket_differs(there: There, part: Part, known: Known) -> str:
    wanted = {each["Key"]: each["Value"] for each in part.settle[0].parameters["Tagging"]["TagSet"]}
    said = [] if dict(there["marks"]) == wanted else ["other tags"]
    if not (there["closed"] and all(there["closed"].values())):
        said.append("open to the public")
    return ", ".join(said)


def _remove_bucket(there: There) -> list[Call]:
    name, gone = there["Bucket"], ("NoSuchBucket",)
    keys = [{"Key": each} for each in there["keys"]]
    return [
        *(call("s3", "DeleteObjects", gone, Bucket=name,
               Delete={"Objects": keys[start : start + 1000], "Quiet": True})
          for start in range(0, len(keys), 1000)),
        call("s3", "DeleteBucket", gone, Bucket=name),
    ]  # fmt: skip


STANDING = {
    "secret": Kind(_find_secrets, _remove_secret),
    "logs": Kind(_find_logs, _remove_logs, _logs_differ),
    "profile": Kind(_find_profiles, _remove_profile, _profile_differs),
    "role": Kind(_find_roles, _remove_role, _role_differs, _mend_role),
    "bucket": Kind(_find_buckets, _remove_bucket, _bucket_differs),
}
"""Kind -> how it is looked after, in the order in which they are taken away."""
