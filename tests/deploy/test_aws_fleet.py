"""A fleet on AWS from end to end, against moto in its strict settings over real sockets.

The machines are moto's, and run nothing: what callers get comes from real servers of the versions,
by a balancer that goes by what moto's listener says. What machines do is in test_aws_machine.
"""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import msgspec
import pytest

from roadworthy.deploy import deploying
from roadworthy.deploy.aws.fleet.traffic import Traffic
from roadworthy.deploy.cloud.provider import DEPLOYMENT
from roadworthy.errors import InputError
from roadworthy.project import AwsSection, Instances, Project
from tests.conftest import Server, Trained, serving
from tests.deploy.aws_server import Aws, aws_server, point_to
from tests.deploy.balancer import Balancer, balancing
from tests.deploy.conftest import Load
from tests.deploy.hosts import cache
from tests.registry.conftest import registry_project

pytestmark = pytest.mark.timeout(600)
REGION = "eu-central-1"
SECRET = "very-secret-value"
HASTY = SimpleNamespace(sleep=lambda seconds: None, monotonic=time.monotonic)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with (
        aws_server(tmp_path_factory.mktemp("aws")) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        point_to(server.url, patch)
        for module in ("account", "provider", "fleet.traffic"):
            patch.setattr(f"roadworthy.deploy.aws.{module}.time", HASTY)
        patch.setattr(Traffic, "address", "127.0.0.1")
        # the services' models are large: they are read once
        session = functools.cache(boto3.Session)
        patch.setattr("roadworthy.deploy.aws.account.boto3.Session", session)
        patch.setattr("roadworthy.deploy.aws.account.Account.until", _soon)
        yield server


def _soon(account: object, what: str, done: Any, seconds: float = 0) -> None:
    """Moto's machines are what they will be at once: what is not so now will not be."""
    from roadworthy.errors import OutsideError

    if not done():
        raise OutsideError(f"AWS takes too long: {what}")


@pytest.fixture(scope="module")
def servers(versions: list[Trained]) -> Iterator[list[Server]]:
    with (
        serving(versions[0].bundle.path) as one,
        serving(versions[1].bundle.path) as two,
    ):
        yield [one, two]


@pytest.fixture(scope="module")
def front(aws: Aws) -> Iterator[Balancer]:
    with balancing(aws, REGION) as running:
        yield running


@pytest.fixture
def balancer(aws: Aws, front: Balancer, versions: list[Trained], servers: list[Server]) -> Balancer:
    """The balancer of a new deployment; an account is not emptied between tests."""
    aws.reset()
    front.deployment = f"d{uuid.uuid4().hex[:8]}"
    front.servers = {
        each.bundle.manifest.short_version: server.port
        for each, server in zip(versions, servers, strict=True)
    }
    return front


def project(house: Path, front: Balancer, **values: Any) -> Project:
    section = AwsSection(region=REGION, port=front.port, instances=Instances(min=2, max=3),
                         keep=2, **values)  # fmt: skip
    wanted = registry_project(house, cache=str(cache() / "deploy"))
    return msgspec.structs.replace(wanted, deploy={front.deployment: section})


def path(trained: Trained) -> str:
    return str(trained.bundle.path)


def client(aws: Aws, service: str) -> Any:
    url = f"http://127.0.0.1:{aws.port}"
    return boto3.client(service, REGION, endpoint_url=url)


def groups(aws: Aws, name: str) -> dict[str, tuple[int, int]]:
    """Group -> how many machines it wants and has, past our own code."""
    found = client(aws, "autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return {
        each["AutoScalingGroupName"]: (each["DesiredCapacity"], len(each["Instances"]))
        for each in found if each["AutoScalingGroupName"].startswith(f"roadworthy-{name}-")
    }  # fmt: skip


def tagged(aws: Aws, name: str) -> list[str]:
    """Everything with the deployment's tag, by the interface that is made to find it."""
    found = client(aws, "resourcegroupstaggingapi").get_resources(
        TagFilters=[{"Key": DEPLOYMENT, "Values": [name]}]
    )
    things = [each["ResourceARN"] for each in found["ResourceTagMappingList"]]
    roles = client(aws, "iam").list_roles()["Roles"]
    things += [each["Arn"] for each in roles if f"roadworthy-{name}-" in each["RoleName"]]
    return sorted([*things, *groups(aws, name)])


def test_a_fleet_is_made_swapped_under_load_rolled_back_and_destroyed(
    aws: Aws, balancer: Balancer, house: Path, versions: list[Trained]
) -> None:
    one, two = versions
    name = balancer.deployment
    wanted = project(house, balancer, secrets=("SERVER_TOKEN",))
    first = deploying.plan(wanted, name, path(one))
    assert {each.change for each in first.steps} == {"create"}
    assert SECRET not in msgspec.json.encode(first).decode()
    with pytest.raises(InputError, match="nothing is deployed"):
        deploying.rollback(wanted, name)
    done = deploying.apply(wanted, name, path(one))
    assert [each.id for each in done.changes] == [each.id for each in first.changes]
    assert deploying.apply(wanted, name, path(one)).changes == ()

    load = Load(f"127.0.0.1:{balancer.port}", one.bundle.contract.example())
    with load.running():
        swap = deploying.apply(wanted, name, path(two))
        wait_for(load, two)
    assert load.failures == []
    assert set(load.answers) == {one.bundle.version, two.bundle.version}
    ids = [each.id for each in swap.changes]
    assert ids[-5:] == ["healthy", "accept", "switch", "drain", "clean"]
    assert sorted(groups(aws, name).values()) == [(0, 0), (2, 2)]
    status = deploying.status(wanted, name)
    assert status.ready
    assert status.details["healthy"] == 2
    assert len(status.releases) == 2

    load = Load(f"127.0.0.1:{balancer.port}", one.bundle.contract.example())
    with load.running():
        deploying.rollback(wanted, name)
        wait_for(load, one)
    assert load.failures == []
    assert deploying.status(wanted, name).serving == done.release
    assert tagged(aws, name) != []
    deploying.destroy(wanted, name)
    assert tagged(aws, name) == []
    assert deploying.destroy(wanted, name).changes == ()


def wait_for(load: Load, version: Trained) -> None:
    end = time.monotonic() + 90
    while load.answers[version.bundle.version] < 3:
        assert time.monotonic() < end, load.failures
        time.sleep(0.02)
