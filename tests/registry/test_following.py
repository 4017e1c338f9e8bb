"""A server follows an alias: what is promoted is served within seconds, and no request is lost."""

from __future__ import annotations

import http.client
import json
import threading
import time
from pathlib import Path

import pytest

from roadworthy.project import Project
from roadworthy.registry import parse_reference
from roadworthy.registry.following import followed, moves
from roadworthy.registry.opening import open_registry
from roadworthy.registry.registering import register
from tests.conftest import Server, Trained
from tests.registry.bundles import make_bundle
from tests.registry.conftest import registry_project
from tests.serve.test_http import wait_for


def put(project: Project, bundle: Path, alias: str | None = None) -> str:
    with open_registry(project) as registry:
        version = register(registry, bundle)[0]
        if alias is not None:
            registry.promote(parse_reference(f"{version.model}:{version.version}"), alias)
        return version.version


def promote(project: Project, reference: str) -> None:
    with open_registry(project) as registry:
        registry.promote(parse_reference(reference))


def test_a_link_is_led_to_what_is_promoted(project: Project, tmp_path: Path) -> None:
    first = put(project, make_bundle(tmp_path, 1), "champion")
    second = put(project, make_bundle(tmp_path, 2))
    plain = make_bundle(tmp_path, 3)
    texts = ["grades@champion", "grades", f"grades:{first}", str(plain)]
    assert [moves(text) for text in texts] == [True, True, False, False]
    with followed(texts, project, 0.05) as paths:
        assert [path.resolve().name for path in paths[:3]] == [first] * 3
        assert paths[3] == plain
        promote(project, f"grades:{second}")
        wait_for(lambda: [path.resolve().name for path in paths[:2]] == [second] * 2)
        assert paths[2].resolve().name == first
        links = paths[0].parent
    assert not links.exists()


def test_a_registry_that_is_away_leaves_the_link_and_is_told_once(
    project: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = put(project, make_bundle(tmp_path, 1), "champion")
    second = put(project, make_bundle(tmp_path, 2))
    catalogue = tmp_path / "catalogue.db"
    with followed(["grades"], project, 0.05) as (path,):
        catalogue.rename(tmp_path / "away.db")
        wait_for(lambda: "stays the version" in caplog.text)
        time.sleep(0.3)
        assert caplog.text.count("stays the version") == 1
        assert path.resolve().name == first
        (tmp_path / "away.db").rename(catalogue)
        promote(project, f"grades:{second}")
        wait_for(lambda: path.resolve().name == second)


def test_a_promotion_is_served_and_no_request_is_lost(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    first, second = bundles["binary"].bundle, bundles["linear"].bundle
    project = registry_project(tmp_path)
    put(project, first.path, "champion")
    put(project, second.path)
    places = project.registry
    (tmp_path / "roadworthy.toml").write_text(
        f"[registry]\nurl = '{places.url}'\nstore = '{places.store}'\ncache = '{places.cache}'\n"
        "[serve]\nfollow = true\nfollow_seconds = 0.2\n"
    )
    server = Server(Path("adult@champion"), "--workers", "2", cwd=tmp_path)
    row = json.dumps(first.golden[0].row).encode()
    seen: list[str] = []
    failures: list[object] = []
    stop = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        while not stop.is_set():
            try:
                connection.request("POST", "/predict", row, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = json.loads(answer.read())
                seen.append(content["version"]) if answer.status == 200 else failures.append(
                    content
                )
            except (OSError, http.client.HTTPException) as error:
                failures.append(error)
            time.sleep(0.002)

    clients = [threading.Thread(target=ask) for _ in range(4)]
    try:
        for client in clients:
            client.start()
        wait_for(lambda: len(seen) > 100)
        assert set(seen) == {first.version}
        promote(project, f"adult:{second.version}")
        wait_for(lambda: seen[-200:].count(second.version) == 200)
        with open_registry(project) as registry:
            registry.roll_back("adult")
        wait_for(lambda: seen[-200:].count(first.version) == 200)
    finally:
        stop.set()
        for client in clients:
            client.join()
        server.stop()
    assert failures == []
