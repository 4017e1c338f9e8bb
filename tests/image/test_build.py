"""Images are small, hardened, labelled and the same every time."""

from __future__ import annotations

import json
import re
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.bundle import Bundle
from roadworthy.errors import InputError, OutsideError
from roadworthy.image import Image, build, write_only
from roadworthy.image.engines.docker import Docker
from roadworthy.image.engines.none import NoEngine
from roadworthy.image.layout import blob_path, read_manifest
from roadworthy.image.locks import requirements
from roadworthy.image.names import check_tag
from roadworthy.image.registry_client import parse_place
from roadworthy.project import Project
from tests.conftest import Trained
from tests.image.conftest import run

ROOT = Path(__file__).parent.parent.parent
MB = 1_000_000


def config_of(docker: Docker, reference: str) -> dict[str, Any]:
    return docker.inspect(reference)["Config"]


def test_the_image_says_what_it_is_and_runs_as_nobody(
    docker: Docker, image: Image, bundle: Bundle
) -> None:
    config = config_of(docker, image.reference)
    labels = config["Labels"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["python", "-m", "roadworthy"]
    assert config["Cmd"] == ["serve"]
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert not re.search("curl|wget|sh -c", " ".join(config["Healthcheck"]["Test"]))
    assert labels["roadworthy.version"] == bundle.version
    assert labels["org.opencontainers.image.version"] == bundle.manifest.short_version
    assert labels["org.opencontainers.image.created"].endswith("Z")
    assert labels["org.opencontainers.image.base.name"]


def test_what_lies_over_the_base_is_under_150_mb(docker: Docker, image: Image, base: str) -> None:
    added = image.size - int(docker.inspect(base)["Size"])
    assert 40 * MB < added < 150 * MB


def test_the_same_input_is_the_same_image_with_a_warm_cache(
    docker: Docker, image: Image, bundle: Bundle, project: Project
) -> None:
    assert build(bundle, "adult:again", project, docker).id == image.id


def test_a_forests_image_is_as_small_and_shares_the_layer_of_packages(
    docker: Docker, image: Image, base: str, bundles: dict[str, Trained], project: Project
) -> None:
    other = build(bundles["regression"].bundle, "forest:1", project, docker)
    assert other.size - int(docker.inspect(base)["Size"]) < 150 * MB
    below = len(docker.inspect(base)["RootFS"]["Layers"])
    first, second = (docker.inspect(each.id)["RootFS"]["Layers"] for each in (image, other))
    until = below + 3  # what is taken away, the folder, the packages
    assert first[:until] == second[:until]
    assert first[until:] != second[until:]


def test_the_image_lists_the_packages_that_are_in_it(docker: Docker, image: Image) -> None:
    command = ["docker", "run", "--rm", "--entrypoint", "python", image.reference, "-c"]
    bill = json.loads(run(*command, "print(open('/opt/roadworthy/sbom.cdx.json').read())"))
    listing = (
        "import importlib.metadata as m, json; "
        "print(json.dumps([[d.name.lower(), d.version] for d in m.distributions()]))"
    )
    there = {tuple(each) for each in json.loads(run(*command, listing))}
    listed = {
        (each["name"].lower(), each["version"])
        for each in bill["components"]
        if each["type"] == "library"
    }
    assert bill["specVersion"] == "1.6"
    assert {(n.replace("_", "-"), v) for n, v in there} == listed
    assert "numpy" in {name for name, _ in listed}
    assert "scikit-learn" not in {name for name, _ in listed}


def test_a_tag_of_another_image_is_not_taken_unless_told(
    docker: Docker, image: Image, bundle: Bundle, project: Project, base: str
) -> None:
    run("docker", "tag", base, "taken:1")
    with pytest.raises(InputError, match="in use") as caught:
        build(bundle, "taken:1", project, docker)
    assert "--replace" in str(caught.value.fix)
    assert build(bundle, "taken:1", project, docker, replace=True).id == image.id


def test_without_an_engine_the_same_input_is_the_same_digest(layouts: list[Path]) -> None:
    first, second = (read_manifest(place) for place in layouts)
    assert first == second
    for entry in first[1]["layers"]:
        assert blob_path(layouts[0], entry["digest"]).stat().st_size == entry["size"]


def test_without_an_engine_nothing_of_pip_is_seen_and_the_same_settings_hold(
    layouts: list[Path], docker: Docker, image: Image
) -> None:
    _, manifest = read_manifest(layouts[0])
    config = json.loads(blob_path(layouts[0], manifest["config"]["digest"]).read_bytes())["config"]
    theirs = config_of(docker, image.reference)
    for key in ("User", "Entrypoint", "Cmd", "WorkingDir", "StopSignal", "ExposedPorts"):
        assert config[key] == theirs[key]
    assert config["Healthcheck"] == {
        key: value for key, value in theirs["Healthcheck"].items() if value
    }
    names: set[str] = set()
    for entry in manifest["layers"][-3:]:
        with tarfile.open(blob_path(layouts[0], entry["digest"])) as archive:
            names |= set(archive.getnames())
    assert any(name.endswith("site-packages/.wh..wh..opq") for name in names)
    assert "opt/roadworthy/model/manifest.json" in names
    assert not any("/pip/" in name for name in names)


def test_the_files_can_be_written_to_keep_and_are_the_same_each_time(
    bundle: Bundle, tmp_path: Path
) -> None:
    project = Project().override("serve", max_rows=7).override("image", licence="MIT")
    first = write_only(bundle, project, tmp_path / "one")
    second = write_only(bundle, project, tmp_path / "two")
    again = write_only(bundle, project, tmp_path / "two")
    assert again == second
    names = sorted(p.relative_to(first.folder) for p in first.folder.rglob("*") if p.is_file())
    assert Path("Dockerfile") in names
    for name in names:
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()
    text = (first.folder / "Dockerfile").read_text()
    assert text.count("FROM python:3.12-slim") == 2
    assert "USER 10001:10001" in text
    assert "--require-hashes" in text
    settings = tomllib.loads((first.folder / "roadworthy.toml").read_text())
    assert settings["serve"] == {"max_rows": 7}


def test_a_folder_with_something_else_is_left_alone(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    with pytest.raises(InputError, match="something else"):
        write_only(bundle, Project(), tmp_path)
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.parametrize("name", ["serve", "arrow", "aws", "azure", "gcp", "grpc", "jwt", "zstd"])
def test_what_is_installed_is_what_the_lock_file_says(name: str) -> None:
    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    hashes = {
        (each["name"], each["version"]): {file["hash"] for file in each.get("wheels", [])}
        for each in locked
    }
    pins = re.findall(
        r"^([a-z0-9-]+)==(\S+)[^\n]*\\\n((?:    --hash=\S+ ?\\?\n)+)",
        requirements(() if name == "serve" else (name,)),
        re.MULTILINE,
    )
    assert {"numpy", "onnxruntime", "msgspec"} <= {pin[0] for pin in pins}
    for package, version, text in pins:
        pinned = set(re.findall(r"sha256:[0-9a-f]{64}", text))
        assert hashes[package, version] <= pinned, package


def test_no_library_of_training_is_installed() -> None:
    pinned = requirements(("arrow", "aws", "azure", "gcp", "grpc", "jwt", "zstd"))
    for name in ("scikit-learn", "polars", "lightgbm", "pandas", "scipy", "sqlalchemy"):
        assert f"{name}==" not in pinned


@pytest.mark.parametrize("text", ["", "Adult:1", "adult:1:2", "a b", "adult@sha256:1", "-a", "a/"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="no name for an image"):
        check_tag(text)


_WORD = st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True)


@settings(max_examples=50)
@given(_WORD, _WORD, st.integers(1, 65535), _WORD)
def test_a_reference_is_taken_apart_as_docker_does(
    team: str, name: str, port: int, tag: str
) -> None:
    assert parse_place(f"example.org:{port}/{team}/{name}:{tag}") == (
        f"example.org:{port}", f"{team}/{name}", tag,
    )  # fmt: skip
    assert parse_place(name) == ("registry-1.docker.io", f"library/{name}", "latest")
    assert check_tag(f"{team}/{name}") == f"{team}/{name}:latest"


@pytest.mark.parametrize(
    "change",
    [
        {"fail_on": "terrible"}, {"base": " "}, {"memory_mb": 1}, {"latency_ms": 0},
        {"engine": "rocket"}, {"model": "beside"}, {"extras": ("train",)},
    ],
)  # fmt: skip
def test_options_of_the_image_are_checked(change: dict[str, Any], tmp_path: Path) -> None:
    from roadworthy.errors import ProjectError
    from roadworthy.project import load_project

    ((key, value),) = change.items()
    file = tmp_path / "roadworthy.toml"
    file.write_text(f"[image]\n{key} = {msgspec.json.encode(value).decode()}\n")
    with pytest.raises(ProjectError, match=f"image.{key}"):
        load_project(file, environment={})


def test_a_full_disk_is_said_and_leaves_no_layout(bundle: Bundle, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(small))
    try:
        base = tmp_path / "base.tar"
        with tarfile.open(base, "w") as archive:
            archive.add(ROOT / "LICENSE", "LICENSE")
        project = Project().override("image", base=str(base), engine="none")
        with pytest.raises(OutsideError, match=r"no space|cannot be written"):
            build(bundle, "adult:1", project, NoEngine(small / "image"))
        assert list(small.iterdir()) == []
    finally:
        run("umount", str(small))
