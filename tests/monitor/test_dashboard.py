"""The server's own page shows what monitoring wrote, in a real browser, without a reload."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from roadworthy.observe import WindowStore
from tests.conftest import Trained, serving
from tests.monitor.test_report import run, serve
from tests.serve.test_pages import OPTIONS


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path, "Debian's chromium is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield running
        running.close()


def watch(trained: Trained, counts: Path) -> None:
    code, _ = run("monitor", "watch", trained.bundle.path, "--store", counts, "--times", 1)
    assert code == 0


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_drift_findings_and_shapes_appear_and_change_without_a_reload(
    browser: Browser, bundles: dict[str, Trained], tmp_path: Path, width: int, scheme: str
) -> None:
    trained, counts = bundles["binary"], tmp_path / "counts"
    (tmp_path / "roadworthy.toml").write_text(f"[monitor]\ncounts = {json.dumps(str(counts))}\n")
    with serving(trained.bundle.path, cwd=tmp_path) as server:
        page = browser.new_page(
            color_scheme="dark" if scheme == "dark" else "light",
            viewport={"width": width, "height": 800},
        )
        page.on("pageerror", lambda error: pytest.fail(f"script error: {error}"))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"http://127.0.0.1:{server.port}/")
        part = page.locator("#monitoring")
        expect(part).to_contain_text("roadworthy monitor watch adult", timeout=60_000)
        serve(trained, counts, 3)
        watch(trained, counts)
        expect(part).to_contain_text("nothing unusual", timeout=60_000)
        expect(part.get_by_role("img", name="Drift of columns by day")).to_be_visible()
        serve(trained, counts, 3, broken=True)
        watch(trained, counts)
        expect(part).to_contain_text("'age' looks multiplied by 1,000", timeout=60_000)
        expect(part).to_contain_text("just now")
        expect(part.get_by_role("img", name="age (", exact=False)).to_be_visible()
        expect(part.get_by_role("img", name="Versions over time")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        own = f"http://127.0.0.1:{server.port}/"
        assert [url for url in asked if not url.startswith((own, "data:"))] == []
        page.close()


def test_the_part_is_sent_once_and_then_only_when_it_changed(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained, counts = bundles["binary"], tmp_path / "counts"
    (tmp_path / "roadworthy.toml").write_text(f"[monitor]\ncounts = {json.dumps(str(counts))}\n")
    with serving(trained.bundle.path, cwd=tmp_path) as server:
        assert server.request("GET", "/monitoring")[0] == 204
        place = WindowStore(counts).page("adult")
        place.parent.mkdir(parents=True)
        place.write_text("<main>one</main>")
        status, headers, body = server.request("GET", "/monitoring")
        assert (status, body) == (200, b"<main>one</main>")
        assert "script-src" not in headers["content-security-policy"]
        again = server.request("GET", "/models/adult/monitoring", If_None_Match=headers["etag"])
        assert (again[0], again[2]) == (304, b"")
        time.sleep(0.01)
        place.write_text("<main>two!</main>")
        again = server.request("GET", "/monitoring", If_None_Match=headers["etag"])
        assert (again[0], again[2]) == (200, b"<main>two!</main>")
