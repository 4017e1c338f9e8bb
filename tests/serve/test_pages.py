"""The page, in a real browser: it works offline, in dark and light, by keyboard."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.conftest import Server, Trained, serving
from tests.serve.test_bad_input import ROW

OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path, "Debian's chromium is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    opened.on("pageerror", lambda error: pytest.fail(f"script error: {error}"))
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(f"http://127.0.0.1:{server.port}/docs")
    yield opened
    away = [
        url for url in asked if not url.startswith((f"http://127.0.0.1:{server.port}/", "data:"))
    ]
    assert away == []  # offline: nothing is fetched from anywhere else
    opened.close()


def test_the_example_row_is_predicted(page: Page, bundles: dict[str, Trained]) -> None:
    bundle = bundles["binary"].bundle
    expected = bundle.predict(bundle.contract.example())
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".result")).to_have_text(expected["prediction"])
    expect(page.locator(".bar")).to_have_count(2)
    share = max(expected["probabilities"].values())
    expect(page.locator(".bar").first).to_contain_text(f"{100 * share:.2f} %")


def test_the_form_has_a_labelled_field_for_every_column(
    page: Page, bundles: dict[str, Trained]
) -> None:
    for name in bundles["binary"].bundle.contract.names:
        expect(page.get_by_label(name, exact=False).first).to_be_visible()


def test_it_works_by_keyboard_and_shows_warnings(page: Page) -> None:
    page.locator("input[name=age]").fill("200")
    page.locator("select[name=workclass]").select_option("null")
    page.locator("input[name=age]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#result li")).to_have_count(2)
    expect(page.locator("#result")).to_contain_text("age: outside the range")


def test_the_snippets_follow_the_form_and_the_curl_line_works(page: Page) -> None:
    import subprocess

    page.locator("input[name=age]").fill("51")
    snippet = page.locator("#snippet").inner_text()
    assert '"age":51' in snippet
    run = subprocess.run(["bash", "-c", snippet], capture_output=True, text=True, check=True)
    assert '"prediction"' in run.stdout
    page.get_by_role("button", name="Python").click()
    code = page.locator("#snippet").inner_text()
    import sys

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'prediction'" in run.stdout


def test_a_refusal_is_shown(page: Page) -> None:
    page.evaluate("document.querySelector('input[name=age]').name = 'gone'")
    page.evaluate("inputs[0].column.name = 'gone'")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#result .bad")).to_contain_text("is absent")


@pytest.mark.parametrize("name", ["multiclass", "regression"])
def test_other_tasks_have_a_page_too(
    browser: Browser, bundles: dict[str, Trained], name: str
) -> None:
    with serving(bundles[name].bundle.path) as server:
        opened = browser.new_page(color_scheme="dark")
        opened.goto(f"http://127.0.0.1:{server.port}/docs")
        opened.get_by_role("button", name="Predict").click()
        expect(opened.locator(".result")).not_to_be_empty()
        assert opened.locator("#metrics tr").count() == len(bundles[name].bundle.report["metrics"])
        opened.close()


def test_no_text_of_a_table_becomes_markup(browser: Browser, tmp_path) -> None:
    import numpy as np
    import polars as pl

    import roadworthy as rw

    evil = "</script><img src=x onerror=alert(1)>"
    x = np.random.default_rng(0).normal(size=200)
    frame = pl.DataFrame({"x": x, evil: [evil, "b"] * 100, "y": np.where(x > 0, evil, "no")})
    table = rw.read_table(frame, "y", name="evil")
    model = rw.train(table, "20s")
    bundle = rw.package(model, rw.test(model, table.holdout), directory=tmp_path)
    with serving(bundle.path) as server:
        opened = browser.new_page()
        opened.on("dialog", lambda dialog: pytest.fail("a script of the table ran"))
        opened.goto(f"http://127.0.0.1:{server.port}/docs")
        opened.get_by_role("button", name="Predict").click()
        expect(opened.locator(".bar")).to_have_count(2)
        assert opened.locator("img").count() == 0
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_live_page_shows_traffic_classes_and_warnings(
    browser: Browser, server: Server, scheme: str
) -> None:
    opened = browser.new_page(color_scheme=scheme, viewport={"width": 390, "height": 800})
    opened.on("pageerror", lambda error: pytest.fail(f"script error: {error}"))
    opened.goto(f"http://127.0.0.1:{server.port}/")
    expect(opened.locator("#state")).to_contain_text("looked at")
    for _ in range(5):
        server.predict({**ROW, "workclass": None})
        server.predict({"age": 1})
    expect(opened.locator("#rate")).to_contain_text(re.compile(r"\d"), timeout=8000)
    expect(opened.locator("#classes .row").first).to_contain_text("<=50K")
    expect(opened.locator("#warnings")).to_contain_text("workclass: blank")
    expect(opened.locator("#answers")).to_contain_text("/predict 422")
    expect(opened.locator("#models")).to_contain_text("adult:")
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    opened.close()


@pytest.fixture
def locked(bundles: dict[str, Trained], tmp_path: Path) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server with keys: one for everything, one that may only predict and read."""
    keys = {"whole": ["predict", "read", "metrics"], "part": ["predict", "read"]}
    entries = [
        {"name": name, "sha256": hashlib.sha256(f"rw_{name}".encode()).hexdigest(), "scopes": may}
        for name, may in keys.items()
    ]
    (tmp_path / "keys.json").write_text(json.dumps(entries))
    (tmp_path / "roadworthy.toml").write_text("[serve]\nkeys = 'keys.json'\n")
    with serving(bundles["binary"].bundle.path, cwd=tmp_path) as server:
        yield server, {name: f"rw_{name}" for name in keys}


def test_with_a_key_the_pages_open_in_a_browser_and_close_again(
    browser: Browser, locked: tuple[Server, dict[str, str]]
) -> None:
    server, keys = locked
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"script error: {error}"))
    base = f"http://127.0.0.1:{server.port}"
    assert page.goto(f"{base}/docs").status == 401
    expect(page.get_by_role("heading")).to_have_text("This page needs a key")
    page.get_by_label("Key or token").fill("rw_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("This key is not known.")
    page.get_by_label("Key or token").fill(keys["whole"])
    page.get_by_role("button", name="Open").click()
    expect(page).to_have_url(f"{base}/docs")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".bar")).to_have_count(2)
    assert "X-API-Key: YOUR_KEY" in page.locator("#snippet").inner_text()
    (cookie,) = context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["expires"]) == (True, "Strict", -1)
    page.goto(f"{base}/")
    expect(page.locator("#state")).to_contain_text("looked at")
    assert "roadworthy_requests_total" in page.goto(f"{base}/metrics").text()
    page.goto(f"{base}/")
    page.get_by_role("button", name="Forget my key").click()
    expect(page.get_by_role("heading")).to_have_text("This page needs a key")
    assert context.cookies() == []
    context.close()


def test_a_key_that_may_not_is_told_so_and_another_may_be_given(
    browser: Browser, locked: tuple[Server, dict[str, str]]
) -> None:
    server, keys = locked
    page = browser.new_page(color_scheme="dark")
    page.goto(f"http://127.0.0.1:{server.port}/metrics")
    page.get_by_label("Key or token").fill(keys["part"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("This key is not good for metrics.")
    page.get_by_label("Key or token").fill(keys["whole"])
    page.keyboard.press("Enter")
    expect(page.locator("body")).to_contain_text("roadworthy_requests_total")
    page.close()


def test_a_page_of_another_port_cannot_use_the_cookie(
    browser: Browser, locked: tuple[Server, dict[str, str]]
) -> None:
    """Another service on the same host is the same site: SameSite alone may not keep it out."""
    closed, keys = locked
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{closed.port}/docs")
    page.get_by_label("Key or token").fill(keys["whole"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Predict")).to_be_visible()
    script = f"""<script>fetch("http://127.0.0.1:{closed.port}/predict", {{method: "POST",
        credentials: "include", mode: "no-cors", body: "{{}}"}})</script>"""

    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(script.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Evil) as evil:
        threading.Thread(target=evil.serve_forever, daemon=True).start()
        with page.expect_response(f"http://127.0.0.1:{closed.port}/predict") as answer:
            page.goto(f"http://127.0.0.1:{evil.server_port}/")
        evil.shutdown()
    assert answer.value.status == 401
    page.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
        ({"Sec_Fetch_Site": "same-site"}, 401),
        ({"Sec_Fetch_Site": "cross-site"}, 401),
        ({"Origin": "http://evil.example"}, 401),
        ({"Origin": "null"}, 401),
    ],
)
def test_the_cookie_counts_only_for_pages_of_this_address(
    locked: tuple[Server, dict[str, str]], headers: dict[str, str], status: int
) -> None:
    server, keys = locked
    cookie = f"a=b; roadworthy_key={keys['whole']}; c=d"
    assert server.request("GET", "/metadata", Cookie=cookie, **headers)[0] == status
    own = f"http://127.0.0.1:{server.port}"
    assert server.request("GET", "/metadata", Cookie=cookie, Origin=own)[0] == 200


@pytest.mark.parametrize("following", ["//evil.example/", "https://evil.example/", "/nothing", ""])
def test_the_login_leads_to_our_own_pages_only(
    locked: tuple[Server, dict[str, str]], following: str
) -> None:
    server, keys = locked
    form = urlencode({"key": keys["whole"], "next": following}).encode()
    media = "application/x-www-form-urlencoded"
    status, headers, _ = server.request("POST", "/login", form, Content_Type=media)
    assert (status, headers["location"]) == (303, "./")
    assert "HttpOnly; SameSite=Strict" in headers["set-cookie"]
    for body in (b"", b"key=%0d%0aset-cookie:x", b"\xff", b"a=1&b=2&c=3&d=4&e=5"):
        assert server.request("POST", "/login", body, Content_Type=media)[0] in (400, 401)
    assert server.request("POST", "/login", form, Content_Type="text/plain")[0] == 415
