"""The verdict as HTML, Markdown and JUnit: complete, safe, readable, and offline."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Route, sync_playwright

from roadworthy.evaluate.behaviour import Behaviour, Example
from roadworthy.evaluate.gates import Check
from roadworthy.evaluate.incoming import Finding
from roadworthy.evaluate.metrics import Estimate
from roadworthy.evaluate.page import render_junit, render_markdown, render_page
from roadworthy.evaluate.page.plots import Bar, Line, plot, ticks
from roadworthy.evaluate.verdict import Verdict
from tests.conftest import Trained

EVIL = "<script>alert(1)</script> | `x` \"q\" & 'z' \x00 ]]>"


def verdict(text: str = "plain", **change: Any) -> Verdict:
    checks = (
        Check(name=f"recall.{text}", rule=">= 0.7", outcome="fail", reason=text),
        Check(name="accuracy", rule=">= 0.8", outcome="undecided", reason="wide",
              found=Estimate(0.8, 0.7, 0.9)),
        Check(name="golden", rule="all", outcome="pass", reason="fine"),
    )  # fmt: skip
    failed = Behaviour(name=text, expectation=text, rows=5, failures=1,
                       examples=(Example({text: text}, {}, text, text),))  # fmt: skip
    finding = Finding(column=text, kind="unseen", rows=3, first=(1,), what=text)
    values = {
        "name": "m", "version": "a" * 64, "outcome": "fail", "undecided": "fail",
        "asked": "in process", "data": text, "checks": checks, "tests": (failed,),
        "findings": (finding,), "rows_read": 10,
    }  # fmt: skip
    return Verdict(**{**values, **change})


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_says_nothing_as_code() -> None:
    page = render_page(verdict(EVIL))
    tags = Tags(page)
    assert tags.open == []
    names = {tag for tag, _ in tags.seen}
    assert not names & {"script", "link", "img", "iframe", "object"}
    assert "&lt;script&gt;" in page
    for _, attributes in tags.seen:
        assert not any(key.startswith("on") for key in attributes)
        assert (attributes.get("href") or "#").startswith("#")


@pytest.mark.parametrize("name", ["binary", "multiclass", "regression", "linear"])
def test_a_bundle_carries_a_whole_page_under_two_megabytes(
    bundles: dict[str, Trained], name: str
) -> None:
    page = (bundles[name].bundle.path / "report.html").read_text()
    assert len(page) < 2_000_000
    assert Tags(page).open == []
    assert page.count("<svg") > 10
    assert "No gates were set" in page
    for heading in ("How good", "For whom not", "What it leans on", "Does it hold",
                    "How it behaves", "What was trained on what"):  # fmt: skip
        assert f">{heading}</h2>" in page
    assert "nan" not in re.sub(r"<[^>]+>", " ", page).split()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_without_network_wide_and_narrow_light_and_dark(
    bundles: dict[str, Trained], browser: Browser, width: int, scheme: Any
) -> None:
    asked: list[str] = []
    said: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.abort()

    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.route(re.compile("^(?!file:)"), refuse)
    page.on("console", lambda message: said.append(message.text))
    page.goto(f"file://{bundles['binary'].bundle.path.resolve()}/report.html")
    assert (asked, said) == ([], [])
    assert page.locator("h1").inner_text().startswith("adult")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for drawing in page.locator("svg").all()[:12]:
        box = drawing.bounding_box()
        assert box is not None
        assert box["width"] > 50
    paper, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    light = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (paper, ink)]
    assert (light[0] > light[1]) == (scheme == "light")
    page.close()


def test_the_page_prints(bundles: dict[str, Trained], browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"file://{bundles['regression'].bundle.path.resolve()}/report.html")
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert len(printed) > 20_000
    page.close()


texts = st.text(st.characters(exclude_categories=()), max_size=30)


@settings(max_examples=60, deadline=None)
@given(texts)
def test_any_text_of_a_table_leaves_all_three_forms_whole(text: str) -> None:
    text = text.encode("utf-16", "ignore").decode("utf-16")  # no half characters
    assert Tags(render_page(verdict(text))).open == []
    suites = ET.fromstring(render_junit(verdict(text)).encode())
    assert suites.tag == "testsuites"
    lines = render_markdown(verdict(text)).splitlines()
    assert [line for line in lines if line.startswith("| ✗ fail | recall.")]
    assert not any("<script" in line for line in lines)


def test_junit_counts_what_it_holds_by_the_usual_schema() -> None:
    suites = ET.fromstring(render_junit(verdict()).encode())
    cases = list(suites.iter("testcase"))
    assert int(suites.attrib["tests"]) == len(cases) == 4
    assert int(suites.attrib["failures"]) == len(list(suites.iter("failure"))) == 2
    for suite in suites:
        assert suite.tag == "testsuite"
        assert set(suite.attrib) == {"name", "tests", "failures", "errors", "skipped", "time"}
        assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
        assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
        assert int(suite.attrib["skipped"]) == len(suite.findall("testcase/skipped"))
        for case in suite:
            assert set(case.attrib) == {"classname", "name", "time"}
            assert [child.tag for child in case] in ([], ["failure"], ["skipped"])
    lenient = ET.fromstring(render_junit(verdict(undecided="pass")).encode())
    assert len(list(lenient.iter("failure"))) == 1


def test_markdown_is_short_and_starts_with_the_verdict(bundles: dict[str, Trained]) -> None:
    from roadworthy.acceptance import accept

    text = render_markdown(accept(bundles["binary"].bundle))
    assert text.startswith("### adult:")
    assert "✅ passes" in text.splitlines()[0]
    assert len(text) < 4000
    assert "❌ is stopped" in render_markdown(verdict()).splitlines()[0]


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_are_round_few_and_inside(low: float, span: float) -> None:
    found = ticks(low, low + span)
    room = span * 1e-6 + abs(low) * 1e-9
    assert len(found) <= 12
    assert all(low - room <= tick <= low + span + room for tick in found)


def test_a_plot_draws_what_it_is_given_and_nothing_of_nothing() -> None:
    line = Line("a & b", [(0.0, 0.0), (1.0, 2.0)])
    drawn = plot("t", "x", "y", lines=[line, line], bars=[Bar(0.5, 1, 0.5, 1.5)], level=1.0)
    assert Tags(drawn).open == []
    assert drawn.count("<polyline") == 2
    assert "a &amp; b" in drawn
    assert plot("t", "x", "y") == ""
    assert plot("t", "x", "y", dots=[(np.nan, 1.0)]) == ""


def test_the_style_travels_in_the_package() -> None:
    import roadworthy.evaluate.page as page

    assert (Path(page.__file__).parent / "report.css").exists()
