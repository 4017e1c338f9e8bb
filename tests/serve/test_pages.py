"""The page, in a real browser: it works offline, in dark and light, by keyboard."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

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
