"""The laptop's set-up is really started: the service answers, and Prometheus has its numbers."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadworthy.image import Image
from roadworthy.image.compose import PROMETHEUS, compose_files, write_compose
from roadworthy.image.engines.docker import Docker
from roadworthy.project import Project
from tests import containers
from tests.conftest import free_port
from tests.monitor.debian import program
from tests.serve.test_bad_input import ROW
from tests.serve.test_http import wait_for


@pytest.fixture
def folder(image: Image, docker: Docker, tmp_path: Path) -> Iterator[tuple[Path, int, int]]:
    """The set-up without Grafana, which no package brings; its port and that of Prometheus."""
    port, prometheus = free_port(), free_port()
    project = Project().override("serve", port=port)
    files = compose_files(image.reference, project, "adult")
    # this version of compose takes the name as an option alone; and 9090 may be in use here
    text = files["compose.yaml"].replace('name: "adult"\n', "")
    files["compose.yaml"] = text.replace("127.0.0.1:9090:9090", f"127.0.0.1:{prometheus}:9090")
    files["prometheus.yml"] = files["prometheus.yml"].replace("15s", "1s")
    write_compose(files, tmp_path)
    containers.program_image(
        {}, Path(program("prometheus")), "prometheus", PROMETHEUS,
        'COPY prometheus /bin/prometheus\nWORKDIR /prometheus\nRUN chown 65534 /prometheus\n'
        'USER 65534\nENTRYPOINT ["/bin/prometheus"]',
    )  # fmt: skip
    compose(tmp_path, "up", "--detach", "model", "prometheus")
    try:
        yield tmp_path, port, prometheus
    finally:
        compose(tmp_path, "--profile", "monitoring", "down", "--volumes", "--timeout", "20")


def compose(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["docker-compose", "--project-name", "adult", *arguments],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def asked(url: str, body: object = None) -> dict | None:
    """What an address answers as JSON; None when nothing listens yet."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except OSError:
        return None


def test_the_service_answers_and_prometheus_has_what_the_dashboard_asks(
    folder: tuple[Path, int, int],
) -> None:
    place, port, prometheus = folder
    wait_for(lambda: asked(f"http://127.0.0.1:{port}/predict", ROW) is not None)
    queries = [
        target["expr"]
        for panel in json.loads((place / "grafana/roadworthy.json").read_text())["panels"]
        for target in panel["targets"]
    ]

    def found(query: str) -> bool:
        asked(f"http://127.0.0.1:{port}/predict", ROW)
        query = urllib.parse.quote(query.replace("$__rate_interval", "1m").replace("$model", ".*"))
        answer = asked(f"http://127.0.0.1:{prometheus}/api/v1/query?query={query}")
        return bool(answer and answer["status"] == "success" and answer["data"]["result"])

    wait_for(lambda: found('up{job="roadworthy"} == 1'))
    rows = next(query for query in queries if "roadworthy_rows_total" in query)
    wait_for(lambda: found(rows))
    health = subprocess.run(
        ["docker", "inspect", "--format", "{{.State.Health.Status}}", "adult_model_1"],
        capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    assert health in ("healthy", "starting")
