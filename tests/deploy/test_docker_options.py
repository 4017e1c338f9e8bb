"""What can be asked of the target `docker` besides: TLS, a network, a registry, a rehearsal."""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
import ssl
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from roadworthy.bundle import Bundle
from roadworthy.bundle.keys import generate, open_signer
from roadworthy.bundle.sign import sign_bundle
from roadworthy.deploy import deploying
from roadworthy.deploy.docker.engine import Engine
from roadworthy.deploy.docker.target import DockerTarget
from roadworthy.deploy.plan import Step
from roadworthy.deploy.verifying import Checked, rehearse, verify
from roadworthy.errors import CheckFailed, InputError, OutsideError
from roadworthy.image import build
from roadworthy.image.engines.docker import Docker
from roadworthy.image.pushing import push
from roadworthy.image.registry_client import parse_place
from roadworthy.image.signing import sign_image
from roadworthy.project import DockerSection, Project
from roadworthy.registry.opening import open_registry
from roadworthy.registry.registering import register
from tests import containers
from tests.conftest import Trained, free_port
from tests.deploy.certificates import certificate
from tests.deploy.conftest import Load
from tests.registry.conftest import registry_project

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def engine(house: Path) -> Iterator[Engine]:
    with containers.engine() as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        containers.import_base(variables)
        containers.caddy_image(variables)
        yield Engine("docker")


@pytest.fixture(scope="module")
def project(house: Path, engine: Engine) -> Project:
    return registry_project(house).override("image", base=containers.BASE)


@pytest.fixture(scope="module")
def built(project: Project, engine: Engine, versions: list[Trained]) -> str:
    """The first version's image, on this engine."""
    return build(versions[0].bundle, "adult:one", project, Docker()).reference


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("release", "other"):
        private, public = generate("ed25519")
        (folder / f"{name}.key").write_bytes(private)
        (folder / f"{name}.pub").write_bytes(public)
    return folder


def deployment(project: Project, **options: object) -> Project:
    section = DockerSection(port=free_port(), proxy_image="caddy:tests", **options)  # type: ignore[arg-type]
    return msgspec.structs.replace(project, deploy={"prod": section})


def path(trained: Trained) -> str:
    return str(trained.bundle.path)


def predicted(project: Project, trained: Trained, context: ssl.SSLContext | None = None) -> str:
    """The version that answers callers."""
    port = project.deploy["prod"].public_port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    if context is not None:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
    row = json.dumps(trained.bundle.contract.example())
    connection.request("POST", "/predict", row, {"Content-Type": "application/json"})
    answer = connection.getresponse().read()
    connection.close()
    return str(json.loads(answer)["version"])


def test_callers_are_spoken_to_by_tls_and_a_renewed_certificate_takes_the_old_ones_place(
    project: Project, built: str, versions: list[Trained], tmp_path: Path, engine: Engine
) -> None:
    authority, chain, key = certificate(tmp_path, "127.0.0.1")
    wanted = deployment(project, image=built, tls_certificate=str(chain), tls_key=str(key))
    deploying.apply(wanted, "prod", path(versions[0]))
    trusting = ssl.create_default_context(cafile=str(authority))
    assert predicted(wanted, versions[0], trusting) == versions[0].bundle.version
    authority, chain, key = certificate(tmp_path, "127.0.0.1")  # another authority, the same files
    changes = [each.id for each in deploying.apply(wanted, "prod", path(versions[0])).changes]
    assert changes == ["proxy"]
    trusting = ssl.create_default_context(cafile=str(authority))
    assert predicted(wanted, versions[0], trusting) == versions[0].bundle.version
    shown = json.dumps(engine.containers("roadworthy.deployment=prod"))
    assert key.read_text().splitlines()[1] not in shown
    deploying.destroy(wanted, "prod")


def test_a_release_joins_the_network_that_is_named_and_is_verified_as_it_is(
    project: Project, built: str, versions: list[Trained], engine: Engine
) -> None:
    engine.run("network", "create", "--internal", "backend")
    wanted = deployment(project, image=built, network="backend")
    deploying.apply(wanted, "prod", path(versions[0]))
    made = f"roadworthy.prod.{deploying.status(wanted, 'prod').serving}"
    found = engine.containers("roadworthy.deployment=prod")[made]
    assert set(found["NetworkSettings"]["Networks"]) == {"backend"}
    assert predicted(wanted, versions[0]) == versions[0].bundle.version
    verified_as_it_is(wanted, versions[0], engine)
    deploying.destroy(wanted, "prod")
    with pytest.raises(OutsideError, match="no network 'nowhere'") as caught:
        deploying.apply(deployment(project, image=built, network="nowhere"), "prod",
                        path(versions[0]))  # fmt: skip
    assert caught.value.exit_code == 3
    deploying.destroy(deployment(project), "prod")


def verified_as_it_is(wanted: Project, trained: Trained, engine: Engine) -> None:
    """What serves is verified, and a change by hand is seen."""
    url = f"http://127.0.0.1:{wanted.deploy['prod'].public_port}"
    found = verify(wanted, "prod", path(trained), url=url, told=lambda _: None)
    assert [each.name for each in found.checks] == ["as wanted", "serves", "answers"]
    assert found.passed, found
    engine.run("stop", "roadworthy.prod.proxy")
    found = verify(wanted, "prod", path(trained), url=url, told=lambda _: None)
    assert not found.passed
    assert "apply would do: proxy" in found.checks[0].said


def test_an_image_of_a_registry_is_pulled_by_digest_and_only_when_a_trusted_key_signed_it(
    project: Project,
    built: str,
    versions: list[Trained],
    engine: Engine,
    keys: Path,
    tmp_path: Path,
) -> None:
    with containers.registry() as host:
        name = f"{host}/team/adult:1"
        signed = shutil.copytree(path(versions[0]), tmp_path / "signed")
        sign_bundle(signed, open_signer(str(keys / "release.key")))
        build(Bundle(signed), name, project, Docker())
        with open_registry(project) as ledger:
            register(ledger, Path(path(versions[0])))
            pushed = push(name, Docker(), ledger=ledger)
        engine.run("rmi", name)
        trusting = project.override("registry", trusted_keys=(str(keys / "release.pub"),))
        wanted = deployment(trusting, image=name)
        sign_image(parse_place(name), pushed.digest, open_signer(str(keys / "other.key")))
        with pytest.raises(CheckFailed, match="not signed by a trusted key"):
            deploying.apply(wanted, "prod", str(signed))
        sign_image(parse_place(name), pushed.digest, open_signer(str(keys / "release.key")))
        changes = deploying.apply(wanted, "prod", str(signed)).changes
        assert changes[0].id == "image"  # looked at anew, though it is here already
        assert predicted(wanted, versions[0]) == versions[0].bundle.version
        deploying.destroy(wanted, "prod")
        for image in (name, None):  # by its name, and because it is on record
            plain = deployment(project, image=image)
            planned = {
                each.id: each for each in deploying.plan(plain, "prod", path(versions[0])).steps
            }
            assert planned["image"].document["image"] == f"{host}/team/adult@{pushed.digest}"
        with pytest.raises(InputError, match="not one of this version"):
            deploying.apply(deployment(project, image=name), "prod", path(versions[1]))
        deploying.destroy(plain, "prod")


def test_an_image_for_another_kind_of_machine_is_refused(
    project: Project, versions: list[Trained], engine: Engine, tmp_path: Path
) -> None:
    """Its programs are of IBM's Z series, by their first bytes."""
    program = bytearray(Path("/bin/true").read_bytes())
    program[18:20] = (22).to_bytes(2, "little")
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        entry = tarfile.TarInfo("usr/bin/python")
        entry.mode, entry.size = 0o755, len(program)
        archive.addfile(entry, io.BytesIO(program))
    changes = ["ENV PATH=/usr/bin ROADWORTHY_MODEL=/model",
               f"LABEL roadworthy.version={versions[0].bundle.version}"]  # fmt: skip
    engine.run("import", *(f"--change={each}" for each in changes), str(tmp_path / "image.tar"),
               "adult:foreign")  # fmt: skip
    with pytest.raises(OutsideError, match="another kind of machine") as caught:
        deploying.apply(deployment(project, image="adult:foreign"), "prod", path(versions[0]))
    assert caught.value.exit_code == 3
    assert caught.value.fix
    deploying.destroy(deployment(project), "prod")


def test_a_rehearsal_shows_a_deployments_whole_life_and_leaves_nothing(
    project: Project, built: str, versions: list[Trained], engine: Engine
) -> None:
    wanted = deployment(project, image=built)
    told: list[Checked] = []
    found = rehearse(wanted, "prod", path(versions[0]), port=free_port(), told=told.append)
    assert found.passed, found
    assert [each.name for each in told] == [
        "plan", "apply", "serves", "apply again", "swap", "roll back", "destroy",
    ]  # fmt: skip
    assert engine.run("ps", "--all", "--quiet", "--filter=label=roadworthy.deployment") == ""
    assert engine.volumes("roadworthy.deployment") == []
    assert deploying.orphans(wanted, "prod") == ()


def test_a_rehearsal_that_fails_says_where_and_is_taken_away_all_the_same(
    project: Project, built: str, versions: list[Trained], engine: Engine
) -> None:
    wanted = deployment(project, image=built).override("gates", accuracy=">= 0.9999")
    told: list[Checked] = []
    found = rehearse(wanted, "prod", path(versions[0]), port=free_port(), told=told.append)
    assert not found.passed
    assert [(each.name, each.passed) for each in told] == [
        ("plan", True), ("apply", False), ("destroy", True),
    ]  # fmt: skip
    assert "accuracy" in told[1].said
    assert found.left == ()
    assert engine.volumes("roadworthy.deployment") == []


def test_a_rehearsal_that_cannot_be_taken_away_names_the_command_that_does(
    project: Project, built: str, versions: list[Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, original = deployment(project, image=built), DockerTarget.perform

    def perform(self: DockerTarget, step: Step) -> None:
        if step.id in ("start", "volumes"):
            raise OutsideError("the engine is gone")
        original(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(DockerTarget, "perform", perform)
        found = rehearse(wanted, "prod", path(versions[0]), port=free_port(), told=lambda _: None)
    assert not found.passed
    (command,) = found.left
    assert command == f"roadworthy deploy orphans --to prod --remove {found.deployment}"
    (left,) = deploying.orphans(wanted, "prod")
    assert left.deployment == found.deployment
    deploying.remove_orphan(wanted, "prod", left.deployment)
    assert deploying.orphans(wanted, "prod") == ()


@pytest.fixture(scope="module")
def podman(built: str, engine: Engine) -> Iterator[dict[str, str]]:
    """Podman, with the images that Docker has here."""
    with containers.podman() as variables:
        for name in (built, "caddy:tests"):
            with subprocess.Popen(["docker", "save", name], stdout=subprocess.PIPE) as saved:
                subprocess.run(["podman", "load", "--quiet"], stdin=saved.stdout, check=True,
                               capture_output=True, env={**os.environ, **variables})  # fmt: skip
        yield variables


def test_podman_is_deployed_to_as_docker_is(
    project: Project, podman: dict[str, str], versions: list[Trained],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name in ("DOCKER_CONFIG", "DOCKER_HOST"):
        monkeypatch.delenv(name)
    for name, value in podman.items():
        monkeypatch.setenv(name, value)
    wanted = deployment(project, image="localhost/adult:one", engine="podman", keep=2)
    section = msgspec.structs.replace(wanted.deploy["prod"], proxy_image="localhost/caddy:tests")
    wanted = msgspec.structs.replace(wanted, deploy={"prod": section})
    deploying.apply(wanted, "prod", path(versions[0]))
    assert predicted(wanted, versions[0]) == versions[0].bundle.version
    assert deploying.apply(wanted, "prod", path(versions[0])).changes == ()
    first = deploying.status(wanted, "prod").serving
    other = wanted.override("serve", max_rows=71)
    port = f"127.0.0.1:{section.public_port}"
    with Load(port, versions[0].bundle.contract.example(), callers=2).running() as load:
        deploying.apply(other, "prod", path(versions[0]))
        assert deploying.status(wanted, "prod").serving != first
        deploying.rollback(wanted, "prod")
    assert load.failures == []
    status = deploying.status(wanted, "prod")
    assert (status.ready, status.serving) == (True, first)
    found = Engine("podman").containers("roadworthy.deployment=prod")
    made = found[f"roadworthy.prod.{first}"]
    assert made["HostConfig"]["ReadonlyRootfs"]
    assert made["HostConfig"]["NetworkMode"] == "none"
    assert deploying.orphans(wanted, "prod") == ()
    deploying.destroy(wanted, "prod")
    assert Engine("podman").containers("roadworthy.deployment=prod") == {}
    assert deploying.destroy(wanted, "prod").steps == ()
