"""Images reach a registry whole, signed, with their bill of materials, and stand in the ledger."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadworthy.bundle import Bundle
from roadworthy.bundle.keys import generate, open_signer
from roadworthy.errors import CheckFailed, InputError, OutsideError
from roadworthy.image import Image, find_engine
from roadworthy.image.engines.docker import Docker
from roadworthy.image.engines.none import NoEngine
from roadworthy.image.pushing import image_of, push
from roadworthy.image.registry_client import Registry, parse_place
from roadworthy.image.signing import sign_image, tag_of, verify_image
from roadworthy.registry.opening import open_registry
from roadworthy.registry.registering import register
from tests import containers
from tests.image.conftest import run
from tests.registry.conftest import registry_project


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name, kind in (("release", "ecdsa-p256"), ("other", "ed25519")):
        private, public = generate(kind)  # type: ignore[arg-type]
        (folder / f"{name}.key").write_bytes(private)
        (folder / f"{name}.pub").write_bytes(public)
    return folder


def fetch(host: str, path: str) -> dict:
    kinds = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
    request = urllib.request.Request(f"http://{host}/v2/{path}", headers={"Accept": kinds})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def tags(host: str, repository: str) -> list[str]:
    try:
        return fetch(host, f"{repository}/tags/list")["tags"] or []
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return []


def test_a_pushed_image_is_signed_listed_recorded_and_pulled_by_digest(
    docker: Docker, image: Image, bundle: Bundle, registry_host: str, keys: Path, tmp_path: Path
) -> None:
    name = f"{registry_host}/team/adult:1"
    run("docker", "tag", image.reference, name)
    signer = open_signer(str(keys / "release.key"))
    with open_registry(registry_project(tmp_path)) as ledger:
        register(ledger, Path(bundle.path))
        pushed = push(name, docker, signer=signer, ledger=ledger)
        recorded = image_of(ledger, bundle.manifest.name, bundle.version)
        ledger.check_history()
    assert recorded == f"{registry_host}/team/adult@{pushed.digest}"
    assert pushed.version == bundle.version
    place = parse_place(name)
    trusted = [str(keys / "other.pub"), str(keys / "release.pub")]
    assert verify_image(place, pushed.digest, trusted) == pushed.signer
    index = fetch(registry_host, f"team/adult/manifests/{pushed.digest.replace(':', '-')}")
    (entry,) = [each for each in index["manifests"] if "cyclonedx" in each["artifactType"]]
    attached = fetch(registry_host, f"team/adult/manifests/{entry['digest']}")
    assert attached["subject"]["digest"] == pushed.digest
    bill = json.loads(Registry(place).blob(attached["layers"][0]["digest"]))
    assert bill["metadata"]["component"]["version"] == bundle.version
    run("docker", "pull", f"{registry_host}/team/adult@{pushed.digest}")


def test_the_signature_has_the_form_that_cosign_verifies(
    docker: Docker, image: Image, registry_host: str, keys: Path, tmp_path: Path
) -> None:
    """Checked with OpenSSL, as cosign's specification says, and not with our own reader."""
    name = f"{registry_host}/team/signed:1"
    run("docker", "tag", image.reference, name)
    pushed = push(name, docker, signer=open_signer(str(keys / "release.key")))
    manifest = fetch(registry_host, f"team/signed/manifests/{tag_of(pushed.digest)}")
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
    payload = Registry(parse_place(name)).blob(layer["digest"])
    critical = json.loads(payload)["critical"]
    assert critical["image"]["docker-manifest-digest"] == pushed.digest
    assert critical["type"] == "cosign container image signature"
    made = base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"])
    (tmp_path / "payload").write_bytes(payload)
    (tmp_path / "signature").write_bytes(made)
    check = ["openssl", "dgst", "-sha256", "-verify", str(keys / "release.pub"), "-signature"]
    verified = run(*check, str(tmp_path / "signature"), str(tmp_path / "payload"))
    assert "Verified OK" in verified


def test_a_signature_counts_only_for_its_image_and_its_key(
    layouts: list[Path], registry_host: str, keys: Path
) -> None:
    place = parse_place(f"{registry_host}/team/counts:1")
    pushed = push(f"{registry_host}/team/counts:1", NoEngine(layouts[0]))
    public = [str(keys / "release.pub")]
    with pytest.raises(CheckFailed, match="not signed"):
        verify_image(place, pushed.digest, public)
    sign_image(place, pushed.digest, open_signer(str(keys / "other.key")))
    with pytest.raises(CheckFailed, match="not signed by a trusted key"):
        verify_image(place, pushed.digest, public)
    sign_image(place, pushed.digest, open_signer(str(keys / "release.key")))
    assert verify_image(place, pushed.digest, public)
    assert verify_image(place, pushed.digest, [str(keys / "other.pub")])
    with pytest.raises(InputError, match="no trusted key"):
        verify_image(place, pushed.digest, [])
    registry = Registry(place)
    signatures = registry.manifest(tag_of(pushed.digest))
    other = f"sha256:{'0' * 64}"
    assert signatures is not None
    registry.put_manifest(json.dumps(signatures[1]).encode(), tag_of(other))
    with pytest.raises(CheckFailed, match="not signed by a trusted key"):
        verify_image(place, other, public)


def test_a_layout_without_an_engine_is_pushed_and_runs_elsewhere(
    layouts: list[Path], docker: Docker, bundle: Bundle, registry_host: str
) -> None:
    name = f"{registry_host}/team/layout:1"
    pushed = push(name, NoEngine(layouts[0]))
    assert f"sha256:{_manifest_digest(layouts[0])}" == pushed.digest
    run("docker", "pull", "--quiet", f"{registry_host}/team/layout@{pushed.digest}")
    listed = run("docker", "run", "--rm", "--read-only", "--cap-drop=ALL",
                 f"{registry_host}/team/layout@{pushed.digest}", "--version")  # fmt: skip
    assert listed.startswith("roadworthy ")


def _manifest_digest(layout: Path) -> str:
    index = json.loads((layout / "index.json").read_text())
    return str(index["manifests"][0]["digest"].removeprefix("sha256:"))


def test_an_image_of_somebody_else_is_not_signed_or_recorded(
    docker: Docker, base: str, registry_host: str
) -> None:
    run("docker", "tag", base, f"{registry_host}/team/foreign:1")
    with pytest.raises(InputError, match="not built by Roadworthy"):
        push(f"{registry_host}/team/foreign:1", docker)


@pytest.fixture(scope="module")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that knows one user."""
    file = tmp_path_factory.mktemp("locked") / "htpasswd"
    hashing = "print crypt('a secret of the tests', '$2b$05$abcdefghijklmnopqrstuu')"
    file.write_text(f"robot:{run('perl', '-e', hashing)}\n")
    with containers.registry(password_file=file) as host:
        yield host


def config(folder: Path, monkeypatch: pytest.MonkeyPatch, content: dict) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(content))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))


@pytest.mark.parametrize("with_engine", [True, False])
def test_a_registry_that_refuses_is_said_and_a_stored_login_opens_it(
    with_engine: bool, layouts: list[Path], docker: Docker, image: Image, locked_registry: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    name = f"{locked_registry}/team/locked{int(with_engine)}:1"
    engine = docker if with_engine else NoEngine(layouts[0])
    run("docker", "tag", image.reference, name)
    config(tmp_path / "none", monkeypatch, {})
    with pytest.raises(OutsideError, match="not allowed") as caught:
        push(name, engine)
    assert "log" in str(caught.value.fix)
    wrong = base64.b64encode(b"robot:wrong").decode()
    config(tmp_path / "wrong", monkeypatch, {"auths": {locked_registry: {"auth": wrong}}})
    with pytest.raises(OutsideError) as refused:
        push(name, engine)
    assert "wrong" not in str(refused.value).split("where")[0].replace("something went wrong", "")
    right = base64.b64encode(b"robot:a secret of the tests").decode()
    config(tmp_path / "right", monkeypatch, {"auths": {locked_registry: {"auth": right}}})
    assert push(name, engine).digest.startswith("sha256:")


def test_a_credential_helper_is_asked(
    layouts: list[Path], locked_registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "docker-credential-testing"
    helper.write_text(
        '#!/bin/sh\nread host\nprintf \'{"ServerURL":"%s","Username":"robot",'
        '"Secret":"a secret of the tests"}\' "$host"\n'
    )
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    config(tmp_path / "c", monkeypatch, {"credHelpers": {locked_registry: "testing"}})
    pushed = push(f"{locked_registry}/team/helped:1", NoEngine(layouts[0]))
    assert pushed.signer is None


@contextlib.contextmanager
def cutting(target: str, after: int) -> Iterator[str]:
    """A way to a registry that is cut for good after some bytes."""
    host, _, port = target.partition(":")
    left = [after]
    listening = socket.create_server(("127.0.0.1", 0))

    def copy(source: socket.socket, sink: socket.socket, *, count: bool) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                if count:
                    left[0] -= len(part)
                if left[0] < 0:
                    break
                sink.sendall(part)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listening.accept()
                if left[0] < 0:
                    near.close()
                    continue
                far = socket.create_connection((host, int(port)))
                for one, two, count in ((near, far, True), (far, near, False)):
                    threading.Thread(
                        target=copy, args=(one, two), kwargs={"count": count}, daemon=True
                    ).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.close()


@pytest.mark.parametrize("with_engine", [True, False])
def test_a_connection_lost_midway_leaves_no_tag(
    with_engine: bool, layouts: list[Path], docker: Docker, image: Image, registry_host: str
) -> None:
    repository = f"team/lost{int(with_engine)}"
    with cutting(registry_host, after=3_000_000) as way:
        name = f"{way}/{repository}:1"
        run("docker", "tag", image.reference, name)
        with pytest.raises(OutsideError, match=r"cannot be reached|connection was lost"):
            push(name, docker if with_engine else NoEngine(layouts[0]))
    assert tags(registry_host, repository) == []


def test_no_registry_at_all_is_said(layouts: list[Path]) -> None:
    with pytest.raises(OutsideError, match="cannot be reached"):
        push("127.0.0.1:9/team/nowhere:1", NoEngine(layouts[0]))


def test_no_engine_is_said_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OutsideError, match="no container engine") as caught:
        find_engine("auto")
    assert "apt-get install docker.io" in str(caught.value.fix)
    assert caught.value.exit_code == 3


def test_an_engine_that_is_down_is_said(
    docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    with pytest.raises(OutsideError, match="docker: the engine does not answer"):
        find_engine("docker")


def test_the_verb_says_that_nothing_was_recorded_of_a_model_that_is_not_registered(
    layouts: list[Path], registry_host: str, tmp_path: Path
) -> None:
    (tmp_path / "roadworthy.toml").write_text(
        f'[registry]\nurl = "sqlite:///{tmp_path}/c.db"\nstore = "{tmp_path}/blobs"\n'
    )
    command = [sys.executable, "-m", "roadworthy", "image", "push",
               f"{registry_host}/team/verb:1", "--engine", "none"]  # fmt: skip
    done = subprocess.run(
        [*command, "--layout", str(layouts[0])], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "sha256:" in done.stdout
    assert "not registered" in done.stdout
    missing = subprocess.run(
        [*command, "--layout", "nothing"], capture_output=True, text=True, cwd=tmp_path
    )
    assert missing.returncode == 2
    assert "there is no OCI layout" in missing.stderr
