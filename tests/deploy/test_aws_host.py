"""A deployment on AWS from end to end: its instance is a real Debian host.

It is reached by way of Systems Manager; in its place stands a program called `aws` that joins its
input and output to the host's SSH server, as `aws ssm start-session` does.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import msgspec
import pytest

from roadworthy.deploy import deploying, opening
from roadworthy.deploy.cloud.opening import as_host
from roadworthy.deploy.cloud.provider import Machine
from roadworthy.errors import InputError, OutsideError
from roadworthy.project import AwsSection, CloudSection, Project, SshSection
from tests.conftest import Trained
from tests.deploy.aws_server import Aws, aws_server, point_to
from tests.deploy.conftest import Load
from tests.deploy.hosts import Host
from tests.deploy.test_aws_machine import (
    REGION,
    TOLD,
    Metadata,
    shown,
    surround,
    told,
    wait_until,
)
from tests.installing import CACHE
from tests.registry.conftest import registry_project

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory, host: Host) -> Iterator[Aws]:
    """AWS, whose one address is the host's, and whose console shows the host's key."""

    def mapped(section: CloudSection, machine: Machine, folder: Path) -> SshSection:
        moved = msgspec.structs.replace(machine, address=machine.address and host.address)
        return as_host(section, moved, folder)

    metadata = Metadata()
    with (
        aws_server(tmp_path_factory.mktemp("aws"), "0.0.0.0") as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        point_to(f"http://127.0.0.1:{server.door.server_port}", patch)
        surround(host, metadata.port, server.door.server_port)
        host.ssh("systemctl daemon-reexec")
        patch.setenv(
            "PATH", f"{_session(tmp_path_factory.mktemp('bin'), host)}:{os.environ['PATH']}"
        )
        patch.setattr(opening, "as_host", mapped)
        patch.setattr("roadworthy.deploy.cloud.target._PAUSE", 0.01)
        yield server
    metadata.close()


def _session(folder: Path, host: Host) -> Path:
    (folder / "aws").write_text(f"""\
#!{sys.executable}
import os, socket, sys, threading
assert "AWS-StartSSHSession" in sys.argv and "i-" in sys.argv[sys.argv.index("--target") + 1]
far = socket.create_connection(("{host.address}", 22), timeout=60)
far.settimeout(None)
def send():
    while part := os.read(0, 65536):
        far.sendall(part)
threading.Thread(target=send, daemon=True).start()
while part := far.recv(65536):
    while part:
        part = part[os.write(1, part):]
""")
    (folder / "aws").chmod(0o755)
    return folder


def console(host: Host) -> str:
    keys = "".join(
        f"{line.split(' ', 1)[1]} root@{host.name}\n"
        for line in host.known_hosts.read_text().splitlines()
    )
    return f"-----BEGIN SSH HOST KEY KEYS-----\n{keys}-----END SSH HOST KEY KEYS-----\n"


@pytest.fixture(scope="module")
def project(house: Path, host: Host, aws: Aws) -> Project:
    section = AwsSection(
        region=REGION, identity=str(host.identity), access="ssm", keep=2,
        secrets=("SERVER_TOKEN",),
    )  # fmt: skip
    wanted = registry_project(house, cache=str(CACHE / "deploy"))
    return msgspec.structs.replace(wanted, deploy={"prod": section})


def told_of_itself(host: Host) -> None:
    """By its role the machine has sent its log, and how busy it is; and is told to be silent."""
    logs, cloudwatch = boto3.client("logs", REGION), boto3.client("cloudwatch", REGION)
    wait_until(lambda: shown(logs), host)
    wait_until(lambda: told(cloudwatch) == TOLD, host)


def units(host: Host) -> set[str]:
    """The services that tell, as systemd has them running."""
    said = host.ssh("systemctl list-units --plain --no-legend --state=active 'roadworthy-prod-*'")
    names = {line.split()[0] for line in said.stdout.splitlines()}
    return {each for each in ("logs", "metrics") if f"roadworthy-prod-{each}.service" in names}


def path(trained: Trained) -> str:
    return str(trained.bundle.path)


def answering(host: Host, trained: Trained) -> str:
    load = Load(host.address, trained.bundle.contract.example(), callers=1)
    with load.running():
        while not load.answers and not load.failures:
            time.sleep(0.05)
    assert not load.failures
    return next(iter(load.answers))


def test_a_model_is_served_from_nothing_swapped_rolled_back_and_destroyed(
    project: Project, aws: Aws, host: Host, versions: list[Trained]
) -> None:
    one, two = versions
    first = deploying.plan(project, "prod", path(one))
    assert {step.change for step in first.steps} == {"create"}
    assert first.monthly["USD"] > 20
    assert "very-secret-value" not in msgspec.json.encode(first).decode()
    assert aws.calls.count("RunInstances") == 0
    with pytest.raises(InputError, match="nothing is deployed there"):
        deploying.rollback(project, "prod")

    # the machine says its key only on the console, and only later
    aws.fail = lambda operation, body: _show(aws, host) if operation == "GetConsoleOutput" else None
    done = deploying.apply(project, "prod", path(one))
    assert [step.id for step in done.steps] == [step.id for step in first.steps]
    assert answering(host, one) == one.bundle.version
    assert deploying.apply(project, "prod", path(one)).changes == ()
    told_of_itself(host)

    swap = [step.id for step in deploying.apply(project, "prod", path(two)).changes]
    assert swap[-4:] == ["start", "accept", "switch", "drain"]
    assert not any(each.startswith("aws-") for each in swap)
    assert answering(host, two) == two.bundle.version
    deploying.rollback(project, "prod")
    assert answering(host, one) == one.bundle.version
    assert units(host) == {"logs", "metrics"}
    section = msgspec.structs.replace(project.deploy["prod"], alarms=False)
    quiet = msgspec.structs.replace(project, deploy={"prod": section})
    assert "silent" in [step.id for step in deploying.apply(quiet, "prod", path(one)).changes]
    assert units(host) == set()
    assert deploying.apply(quiet, "prod", path(one)).changes == ()
    status = deploying.status(quiet, "prod")
    assert status.ready
    assert status.details["instance"].endswith("running")
    assert any("roadworthy" in line for line in deploying.logs(project, "prod", 5))

    host.ssh("systemctl stop ssh.socket ssh.service", check=False)
    with pytest.raises(OutsideError, match="cannot be reached"):
        deploying.plan(quiet, "prod", path(one))
    assert not deploying.status(quiet, "prod").ready
    gone = deploying.destroy(project, "prod")  # needs no machine
    assert {step.change for step in gone.changes} == {"delete"}
    assert len(gone.changes) == 10
    assert gone.model == "adult"
    assert deploying.destroy(project, "prod").changes == ()
    assert not deploying.status(project, "prod").ready


def _show(aws: Aws, host: Host) -> None:
    if aws.calls.count("GetConsoleOutput") > 3:
        aws.console = console(host)
