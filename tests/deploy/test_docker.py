"""A real engine, deployed to: swapped under load, broken in every way, rolled back, taken away."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from roadworthy.deploy import asking, deploying
from roadworthy.deploy.docker.engine import Engine
from roadworthy.deploy.docker.locking import locked
from roadworthy.deploy.docker.target import DockerTarget
from roadworthy.deploy.plan import Step
from roadworthy.errors import CheckFailed, InputError, OutsideError
from roadworthy.project import DockerSection, Project
from roadworthy.registry.opening import open_registry
from tests import containers
from tests.conftest import Trained
from tests.deploy.conftest import Load
from tests.registry.conftest import registry_project
from tests.serve.test_http import wait_for

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def engine(house: Path) -> Iterator[Engine]:
    with containers.engine() as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        containers.import_base(variables)
        containers.caddy_image(variables)
        yield Engine("auto")


@pytest.fixture(scope="module")
def project(house: Path, engine: Engine) -> Project:
    base = registry_project(house).override("image", base=containers.BASE)
    section = DockerSection(
        port=free_port(), proxy_image="caddy:tests", keep=2, secrets=("SERVER_TOKEN",)
    )
    return msgspec.structs.replace(base, deploy={"prod": section})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def path(trained: Trained) -> str:
    return str(trained.bundle.path)


def address(project: Project) -> str:
    return f"127.0.0.1:{project.deploy['prod'].public_port}"


@pytest.fixture(scope="module")
def deployed(project: Project, versions: list[Trained], engine: Engine) -> Project:
    """The first version, over the second, whose deployment was cut off after every step."""
    cut_everywhere(project, path(versions[1]))
    deploying.apply(project, "prod", path(versions[0]))
    return project


def cut_everywhere(project: Project, model: str) -> None:
    original, cut = DockerTarget.perform, []

    def perform(self: DockerTarget, step: Step) -> None:
        original(self, step)
        if step.id not in cut:
            cut.append(step.id)
            raise OutsideError(f"cut off after {step.id}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DockerTarget, "perform", perform)
        for _ in range(12):
            with contextlib.suppress(OutsideError):
                deploying.apply(project, "prod", model)
                break
        else:
            raise AssertionError("it never completed")
    assert cut == ["image", "send", "create", "start", "accept", "proxy", "switch"]


def version_that_answers(project: Project, trained: Trained) -> str:
    connection = http.client.HTTPConnection(address(project), timeout=60)
    with contextlib.closing(connection):
        row = json.dumps(trained.bundle.contract.example())
        connection.request("POST", "/predict", row, {"Content-Type": "application/json"})
        return str(json.loads(connection.getresponse().read())["version"])


def answers(project: Project, trained: Trained) -> str | None:
    """The same; None while nobody answers well."""
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError, KeyError):
        return version_that_answers(project, trained)
    return None


def test_what_failed_at_any_step_is_completed_by_running_it_again(
    deployed: Project, versions: list[Trained]
) -> None:
    assert version_that_answers(deployed, versions[0]) == versions[0].bundle.version
    status = deploying.status(deployed, "prod")
    assert status.ready
    assert str(status.serving).startswith(versions[0].bundle.manifest.short_version)


def test_a_second_apply_does_nothing_and_a_plan_shows_only_what_differs(
    deployed: Project, versions: list[Trained]
) -> None:
    assert deploying.apply(deployed, "prod", path(versions[0])).changes == ()
    other = deployed.override("serve", max_rows=81)
    changes = [step.id for step in deploying.plan(other, "prod", path(versions[0])).changes]
    assert changes == ["image", "send", "create", "start", "accept", "switch", "drain", "clean"]
    assert deploying.plan(deployed, "prod", path(versions[0])).changes == ()


def test_no_request_is_lost_while_versions_are_swapped_and_rolled_back(
    deployed: Project, versions: list[Trained]
) -> None:
    one, two = (each.bundle for each in versions)
    with Load(address(deployed), one.contract.example()).running() as load:
        deploying.apply(deployed, "prod", path(versions[1]))
        assert version_that_answers(deployed, versions[0]) == two.version
        deploying.rollback(deployed, "prod")
        assert version_that_answers(deployed, versions[0]) == one.version
    assert load.failures == []
    assert set(load.answers) == {one.version, two.version}


def test_a_canary_is_sent_along_then_promoted_or_abandoned_by_the_next_apply(
    deployed: Project, versions: list[Trained]
) -> None:
    one, two = versions
    beside = deployed.override("serve", canary=path(two), canary_percent=50.0)
    deploying.apply(beside, "prod", path(one))
    answers = {version_that_answers(deployed, one) for _ in range(60)}
    assert answers == {one.bundle.version, two.bundle.version}
    deploying.apply(deployed, "prod", path(two))  # promoted
    assert {version_that_answers(deployed, one) for _ in range(5)} == {two.bundle.version}
    watched = deployed.override("serve", shadow=path(one))
    deploying.apply(watched, "prod", path(two))
    assert {version_that_answers(deployed, one) for _ in range(5)} == {two.bundle.version}
    assert "\nroadworthy_shadow_rows_total{" in metrics(deployed)
    deploying.apply(deployed, "prod", path(one))  # abandoned
    assert version_that_answers(deployed, one) == one.bundle.version
    assert "\nroadworthy_shadow_rows_total{" not in metrics(deployed)


def metrics(project: Project) -> str:
    connection = http.client.HTTPConnection(address(project), timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()


def test_containers_have_every_restriction_and_show_no_secret(
    deployed: Project, engine: Engine
) -> None:
    found = engine.containers("roadworthy.deployment=prod")
    shown = json.dumps(found) + engine.run("volume", "inspect", *engine.volumes(
        "roadworthy.deployment=prod"))  # fmt: skip
    assert "very-secret-value" not in shown
    serving = str(deploying.status(deployed, "prod").serving)
    made = found[f"roadworthy.prod.{serving}"]
    for each in (made, found["roadworthy.prod.proxy"]):
        assert each["HostConfig"]["ReadonlyRootfs"]
        assert each["HostConfig"]["CapDrop"] == ["ALL"]
        assert "no-new-privileges" in str(each["HostConfig"]["SecurityOpt"])
    assert made["HostConfig"]["NetworkMode"] == "none"
    seen = engine.run("exec", made["Name"].strip("/"), "cat", "/proc/1/status")
    assert "\nCapEff:\t0000000000000000\n" in seen
    assert "\nUid:\t10001\t" in seen
    program = "import os; print(open(os.environ['CREDENTIALS_DIRECTORY'] + '/secrets').read())"
    assert "very-secret-value" in engine.run(
        "exec", made["Name"].strip("/"), "python", "-c", program
    )


def test_a_release_that_fails_its_gates_is_kept_away_and_its_evidence_kept(
    deployed: Project, versions: list[Trained], engine: Engine
) -> None:
    before = deploying.status(deployed, "prod")
    strict = deployed.override("gates", accuracy=">= 0.9999").override("serve", max_rows=82)
    with pytest.raises(CheckFailed, match="callers still get what they got before") as failed:
        deploying.apply(strict, "prod", path(versions[1]))
    folder = Path(str(failed.value.where))
    assert "accuracy" in (folder / "verdict.json").read_text()
    assert json.loads((folder / "exit.json").read_text())["ExitCode"] == 0
    assert (folder / "log.txt").exists()
    after = deploying.status(deployed, "prod")
    assert (after.serving, after.releases) == (before.serving, before.releases)
    assert folder.name in after.details["failed"]
    assert version_that_answers(deployed, versions[0]) == versions[0].bundle.version
    assert len(engine.containers("roadworthy.part=release")) == len(before.releases)


def test_callers_who_are_not_served_are_given_back_the_release_before_them(
    deployed: Project, versions: list[Trained]
) -> None:
    before, nobody = deploying.status(deployed, "prod").serving, "http://127.0.0.1:9"
    right, second = f"http://{address(deployed)}", path(versions[1])
    with pytest.raises(InputError, match="no address"):
        asking.apply_and_ask(deployed, "prod", second, "prod.example")
    with pytest.raises(CheckFailed, match=f"release {before} serves again"):
        asking.apply_and_ask(deployed, "prod", second, nobody)
    assert deploying.status(deployed, "prod").serving == before
    assert version_that_answers(deployed, versions[0]) == versions[0].bundle.version
    asking.apply_and_ask(deployed, "prod", second, right)
    assert version_that_answers(deployed, versions[0]) == versions[1].bundle.version
    with pytest.raises(CheckFailed, match="served before this, so it was left"):
        asking.apply_and_ask(deployed, "prod", second, nobody)
    assert version_that_answers(deployed, versions[0]) == versions[1].bundle.version
    asking.apply_and_ask(deployed, "prod", path(versions[0]), right)


def test_a_release_that_does_not_start_is_kept_away_with_what_it_said(
    deployed: Project, versions: list[Trained]
) -> None:
    hungry = deployed.override("serve", max_rows=83)
    section = msgspec.structs.replace(hungry.deploy["prod"], memory_mb=64, start_seconds=60)
    with pytest.raises(CheckFailed) as failed:
        deploying.apply(
            msgspec.structs.replace(hungry, deploy={"prod": section}), "prod", path(versions[1])
        )
    folder = Path(str(failed.value.where))
    assert (folder / "exit.json").exists()
    assert version_that_answers(deployed, versions[0]) == versions[0].bundle.version


def test_two_deployments_at_once_are_refused_and_a_dead_one_is_taken_over(
    deployed: Project, engine: Engine
) -> None:
    with (
        locked(engine, "roadworthy.prod.lock"),
        pytest.raises(OutsideError, match="another deployment is at work"),
    ):
        deploying.rollback(deployed, "prod")
    program = (
        "import os\nfrom roadworthy.deploy.docker.engine import Engine\n"
        "from roadworthy.deploy.docker.locking import locked\n"
        "with locked(Engine('docker'), 'roadworthy.prod.lock'): os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 9
    assert engine.containers("roadworthy.holder")
    with locked(engine, "roadworthy.prod.lock"):
        pass
    assert not engine.containers("roadworthy.holder")


def test_orphans_are_listed_and_removed_by_name_and_nothing_else_is(
    deployed: Project, versions: list[Trained], engine: Engine, tmp_path: Path
) -> None:
    """One is of a deployment that was cut off, one a volume alone, one the lock of a dead one."""
    left = DockerSection(port=free_port(), proxy_image="caddy:tests", name="left")
    foreign = registry_project(tmp_path).override("image", base=containers.BASE)
    foreign = msgspec.structs.replace(foreign, deploy={"theirs": left})
    cut_off(foreign, "theirs", path(versions[0]), after="create")
    engine.run("volume", "create", "--label=roadworthy.deployment=alone", "roadworthy.alone")
    program = (
        "import os\nfrom roadworthy.deploy.docker.engine import Engine\n"
        "from roadworthy.deploy.docker.locking import locked\n"
        "with locked(Engine('docker'), 'roadworthy.dead.lock'): os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 9
    engine.run("volume", "create", "mine-too")
    found = {each.deployment: each for each in deploying.orphans(deployed, "prod")}
    assert set(found) == {"left", "alone", "dead"}
    kinds = [each.split()[0] for each in found["left"].parts]
    assert kinds == ["container", "image", "volume", "volume"]
    assert found["left"].model == versions[0].bundle.manifest.name
    with pytest.raises(InputError, match="no orphan there"):
        deploying.remove_orphan(deployed, "prod", "prod")
    for each in found:
        deploying.remove_orphan(deployed, "prod", each)
    assert deploying.orphans(deployed, "prod") == ()
    engine.run("volume", "rm", "mine-too")  # still there
    assert version_that_answers(deployed, versions[0]) == versions[0].bundle.version


def cut_off(project: Project, name: str, model: str, *, after: str) -> None:
    """Deploy until a step is done, and no further."""
    original = DockerTarget.perform

    def perform(self: DockerTarget, step: Step) -> None:
        original(self, step)
        if step.id == after:
            raise OutsideError("cut off")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DockerTarget, "perform", perform)
        with pytest.raises(OutsideError, match="cut off"):
            deploying.apply(project, name, model)


def test_what_a_deployment_that_was_cut_off_left_goes_with_the_next(
    deployed: Project, versions: list[Trained], engine: Engine
) -> None:
    other = deployed.override("serve", max_rows=84)
    cut_off(other, "prod", path(versions[1]), after="send")
    changes = [each.id for each in deploying.apply(deployed, "prod", path(versions[0])).changes]
    assert changes == ["clean"]
    kept = set(deploying.status(deployed, "prod").releases)
    volumes = engine.volumes("roadworthy.deployment=prod")
    assert {each.split(".", 2)[-1] for each in volumes} - {"prod", "proxy"} == kept
    assert {each.partition(":")[2] for each in engine.images("roadworthy/prod")} == kept


def test_a_server_that_dies_is_started_again(
    deployed: Project, versions: list[Trained], engine: Engine
) -> None:
    made = f"roadworthy.prod.{deploying.status(deployed, 'prod').serving}"
    process = engine.containers("roadworthy.deployment=prod")[made]["State"]["Pid"]
    os.kill(process, signal.SIGKILL)
    end = time.monotonic() + 120
    while engine.containers("roadworthy.deployment=prod")[made]["State"]["Pid"] in (0, process):
        assert time.monotonic() < end
        time.sleep(0.1)
    wait_for(lambda: answers(deployed, versions[0]) == versions[0].bundle.version)


def test_it_serves_again_when_the_engine_was_started_again(
    deployed: Project, versions: list[Trained], engine: Engine
) -> None:
    folder = Path(os.environ["DOCKER_HOST"].removeprefix("unix://")).parent
    process = int((folder / "pid").read_text())
    command = Path(f"/proc/{process}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
    os.kill(process, signal.SIGTERM)
    end = time.monotonic() + 120
    while (folder / "pid").exists():
        assert time.monotonic() < end
        time.sleep(0.1)
    with (folder / "log").open("ab") as log:
        again = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        containers.wait_for_engine(again, {}, folder / "log")
        wait_for(lambda: answers(deployed, versions[0]) == versions[0].bundle.version)
        assert deploying.apply(deployed, "prod", path(versions[0])).changes == ()
        _destroys(deployed, engine)
    finally:
        again.terminate()
        again.wait(60)


def _destroys(deployed: Project, engine: Engine) -> None:
    """Destroy takes away what is the deployment's, and completes after a failure at every step."""
    mine = engine.run("volume", "create", "mine")
    original, cut = DockerTarget.perform, []

    def perform(self: DockerTarget, step: Step) -> None:
        if step.id not in cut:
            cut.append(step.id)
            raise OutsideError(f"cut off at {step.id}")
        original(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DockerTarget, "perform", perform)
        for _ in range(8):
            with contextlib.suppress(OutsideError):
                deploying.destroy(deployed, "prod")
                break
    assert cut == ["containers", "volumes", "images"]
    assert engine.run("ps", "--all", "--quiet") == ""
    assert engine.volumes("") == [mine] or engine.run("volume", "ls", "--quiet") == mine
    assert engine.images("roadworthy/prod") == []
    assert deploying.destroy(deployed, "prod").steps == ()
    with open_registry(deployed) as registry:
        assert any(entry.action == "step" for entry in registry.history("adult"))


def test_a_name_that_has_no_image_is_refused(project: Project, versions: list[Trained]) -> None:
    section = DockerSection(image="nothing-of-this-name:1", proxy_image="caddy:tests")
    wanted = msgspec.structs.replace(project, deploy={"other": section})
    with pytest.raises((InputError, OutsideError)):
        deploying.plan(wanted, "other", path(versions[0]))
