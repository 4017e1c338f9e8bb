"""The laptop's set-up is restricted as the tests run it, and its dashboard asks what is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from roadworthy.errors import InputError
from roadworthy.image.compose import compose_files, write_compose
from roadworthy.project import Project
from tests.conftest import Server


def test_the_service_is_as_restricted_as_its_tests_and_listens_here_only() -> None:
    project = Project().override("image", memory_mb=300).override("serve", port=9999)
    found = yaml.safe_load(compose_files("adult:1", project, "Adult_1")["compose.yaml"])
    service = found["services"]["model"]
    assert found["name"] == "adult-1"
    assert service["image"] == "adult:1"
    assert service["ports"] == ["127.0.0.1:9999:8080"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"] == "300m"
    assert "volumes" not in service
    for name in ("prometheus", "grafana"):
        assert found["services"][name]["profiles"] == ["monitoring"]
        assert all(port.startswith("127.0.0.1:") for port in found["services"][name]["ports"])


def test_a_mounted_model_has_its_place() -> None:
    project = Project().override("image", model="mounted")
    found = yaml.safe_load(compose_files("adult:1", project)["compose.yaml"])
    assert found["services"]["model"]["volumes"] == ["./model:/opt/ml/model:ro"]


def test_a_fetched_model_and_a_locked_server_are_told_where_things_are() -> None:
    project = Project().override("image", model="fetched").override("serve", keys="keys.json")
    text = compose_files("adult:1", project)["compose.yaml"]
    service = yaml.safe_load(text)["services"]["model"]
    assert service["volumes"] == ["./secrets:/run/secrets:ro"]
    assert "# put here before the start: secrets/keys\n" in text
    assert service["environment"] == ["ROADWORTHY_REGISTRY_URL", "ROADWORTHY_REGISTRY_STORE"]


def test_every_file_that_compose_mounts_is_written(tmp_path: Path) -> None:
    files = compose_files("adult:1", Project())
    paths = write_compose(files, tmp_path)
    found = yaml.safe_load((tmp_path / "compose.yaml").read_text())
    mounted = [
        volume.partition(":")[0]
        for service in found["services"].values()
        for volume in service.get("volumes", ())
        if volume.startswith("./")
    ]
    assert {(tmp_path / name).resolve() for name in mounted} < {path.resolve() for path in paths}
    for name in ("prometheus.yml", "grafana/datasource.yml", "grafana/dashboards.yml"):
        assert yaml.safe_load((tmp_path / name).read_text())


def test_what_was_changed_is_not_written_over_unless_told(tmp_path: Path) -> None:
    files = compose_files("adult:1", Project())
    write_compose(files, tmp_path)
    write_compose(files, tmp_path)
    (tmp_path / "prometheus.yml").write_text("mine")
    with pytest.raises(InputError, match="changed"):
        write_compose(files, tmp_path)
    assert (tmp_path / "prometheus.yml").read_text() == "mine"
    write_compose(files, tmp_path, replace=True)
    assert (tmp_path / "prometheus.yml").read_text() == files["prometheus.yml"]


def test_the_dashboard_asks_only_for_series_that_a_server_has(server: Server) -> None:
    server.predict([{"age": "x"}])
    exposed = server.get("/metrics")[2].decode()
    families = set(re.findall(r"^# TYPE (\S+) ", exposed, re.MULTILINE))
    dashboard = json.loads(compose_files("adult:1", Project())["grafana/roadworthy.json"])
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = set(re.findall(r"roadworthy_\w+", " ".join(queries)))
    assert len(asked) >= 7
    assert {name.removesuffix("_bucket") for name in asked} <= families


def test_a_name_that_is_no_image_is_refused() -> None:
    with pytest.raises(InputError, match="no name for an image"):
        compose_files("$(rm)", Project())
