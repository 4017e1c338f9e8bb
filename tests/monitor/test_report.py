"""The report: what people and machines read, from what a server counted."""

from __future__ import annotations

import html.parser
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from roadworthy.bundle.reference import noticed_in
from roadworthy.cli import app
from roadworthy.errors import InputError, OutsideError
from roadworthy.monitor.inspection import inspect
from roadworthy.observe import Window, WindowStore
from roadworthy.observe.counting import RowCounter
from roadworthy.prepare.columns import encode_columns
from roadworthy.project import Project
from tests.conftest import Trained


def serve(trained: Trained, folder: Path, days: int, *, broken: bool = False) -> None:
    """Count rows of the table on each of the last days, the last of them broken or not."""
    bundle, frame = trained.bundle, trained.table.frame
    counter = RowCounter(bundle.contract, bundle.plan, bundle.reference.layout)
    store, now = WindowStore(folder), int(time.time() // 3600)
    for day in range(days):
        part = frame.sample(400, seed=day)
        if broken and day == days - 1:
            part = part.with_columns(
                pl.lit(None, part["workclass"].dtype).alias("workclass"), pl.col("age") * 1000
            )
        matrix = encode_columns(part, bundle.plan)
        scores = bundle.engine.run_many(matrix)
        counts = counter.count(matrix, noticed_in(part, bundle.contract), scores)
        store.write(
            Window(
                model=bundle.manifest.name, version=bundle.version, hour=now - 24 * (days - day),
                writer="w", generation=1, counts=counts.packed(),
            )
        )  # fmt: skip


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def report(trained: Trained, folder: Path, *words: object) -> tuple[int, str]:
    return run("monitor", "report", trained.bundle.path, "--store", folder, *words)


def test_a_usual_service_is_told_to_be_well(bundles: dict[str, Trained], tmp_path: Path) -> None:
    trained = bundles["binary"]
    serve(trained, tmp_path, 3)
    code, text = report(trained, tmp_path, "--fail-on", "warning")
    assert code == 0
    assert "1,200 rows on 3 days" in text
    assert "nothing unusual" in text


def test_broken_columns_are_told_with_what_to_do(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["binary"]
    serve(trained, tmp_path, 3, broken=True)
    code, text = report(trained, tmp_path, "--json", "--fail-on", "serious")
    assert code == 1
    told = json.loads(text)
    kinds = {(one["kind"], one["subject"]) for one in told["findings"]}
    assert {("blank_rate", "workclass"), ("unit_change", "age")} <= kinds
    assert not {("drift", "workclass"), ("drift", "age"), ("range", "age")} & kinds
    assert told["findings"][0]["severity"] == "serious"
    assert all(one["fix"] and one["what"] for one in told["findings"])
    assert (told["rows"], told["days"], told["judged_by"]) == (1200, 3, "rows")
    assert report(trained, tmp_path)[0] == 0
    assert "1,000" in report(trained, tmp_path)[1]


def test_a_report_on_counts_loads_nothing_of_training(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["binary"]
    serve(trained, tmp_path, 3, broken=True)
    program = """
import sys
from roadworthy.cli import app
app(["monitor", "report", *sys.argv[1:]], standalone_mode=False)
print(*sys.modules)
"""
    words = [sys.executable, "-c", program, str(trained.bundle.path), "--store", str(tmp_path)]
    said = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    loaded = set(said.splitlines()[-1].split())
    assert "roadworthy.monitor.inspection" in loaded
    assert loaded.isdisjoint({"sklearn", "lightgbm", "pandas", "scipy.stats", "roadworthy.train"})


class Page(html.parser.HTMLParser):
    """Checks that tags close, and collects what is drawn and said."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.titles: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        assert not {"src", "href", "onclick"} & {name for name, _ in attrs}
        assert tag != "script"
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.titles if self.open[-1:] == ["title"] else self.words).append(data)


@pytest.mark.parametrize("name", ["binary", "multiclass", "regression"])
def test_the_page_opens_offline_and_shows_every_day_and_column(
    bundles: dict[str, Trained], tmp_path: Path, name: str
) -> None:
    trained = bundles[name]
    serve(trained, tmp_path, 4, broken=name == "binary")
    place = tmp_path / "page.html"
    report(trained, tmp_path, "--html", place)
    text = place.read_text()
    page = Page(text)
    assert len(text) < 400_000
    said = " ".join(page.titles)
    for column in trained.bundle.reference.columns:
        if not column.clock:
            assert f"{column.name}, 20" in said
    assert "1,600" in page.words
    assert not list(tmp_path.glob(".*.draft"))


def test_names_from_the_table_are_no_markup(bundles: dict[str, Trained], tmp_path: Path) -> None:
    from roadworthy.monitor.page import drawings

    drawn = drawings.heat_map(["<script>"], [20000], {"<script>": [0.5]})
    drawn += drawings.shapes("<script>", ["<b>", "<i>"], np.ones(2), np.ones(2))
    assert "<script>" not in drawn
    assert "<b>" not in drawn


def test_watching_tells_each_finding_once_when_it_begins(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["binary"]
    serve(trained, tmp_path, 3, broken=True)
    code, text = run(
        "monitor", "watch", trained.bundle.path, "--store", tmp_path, "--every", "0.1s",
        "--times", 3, "--json",
    )  # fmt: skip
    assert code == 0
    lines = [json.loads(line) for line in text.splitlines()]
    keys = [(line["state"], line["kind"], line["subject"]) for line in lines]
    assert ("begins", "unit_change", "age") in keys
    assert len(keys) == len(set(keys))


def test_a_page_that_cannot_be_left_does_not_stop_the_watch(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["binary"]
    serve(trained, tmp_path, 3, broken=True)
    (tmp_path / ".pages").write_text("a file where the folder should be")
    code, text = run(
        "monitor", "watch", trained.bundle.path, "--store", tmp_path, "--times", 1, "--json"
    )
    assert code == 0
    assert "unit_change" in text


def test_what_is_asked_wrong_is_told_right(bundles: dict[str, Trained], tmp_path: Path) -> None:
    trained = bundles["binary"]
    serve(trained, tmp_path / "counts", 1)
    with pytest.raises(InputError, match="there are no counts here"):
        report(trained, tmp_path / "nothing")
    with pytest.raises(InputError, match="not a duration"):
        report(trained, tmp_path / "counts", "--since", "yesterday")
    with pytest.raises(InputError, match="no severity"):
        report(trained, tmp_path / "counts", "--fail-on", "info")
    with pytest.raises(OutsideError, match="cannot be written"):
        report(trained, tmp_path / "counts", "--html", tmp_path / "no" / "page.html")
    with pytest.raises(InputError, match="not said where"):
        inspect(trained.bundle, Project().monitor)


@pytest.mark.parametrize(("since", "rows"), [("36h", 400), ("2d", 800), ("2001-01-01", 1200)])
def test_since_takes_durations_days_and_dates(
    bundles: dict[str, Trained], tmp_path: Path, since: str, rows: int
) -> None:
    serve(bundles["binary"], tmp_path, 3)
    found = json.loads(report(bundles["binary"], tmp_path, "--since", since, "--json")[1])
    assert found["rows"] == rows


def test_counts_that_cannot_be_used_are_told_of_and_the_others_are(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["binary"]
    serve(trained, tmp_path, 3)
    store = WindowStore(tmp_path)
    (window, _), *_ = store.windows(trained.bundle.manifest.name)
    future = store.path(window.model, window.version, window.hour + 10**6, "w")
    import msgspec

    future.write_bytes(
        msgspec.msgpack.encode(msgspec.structs.replace(window, hour=window.hour + 10**6))
    )
    future.with_name("1-torn.window").write_bytes(b"torn")
    found = json.loads(report(trained, tmp_path, "--json")[1])
    (about,) = [one for one in found["findings"] if one["kind"] == "store"]
    assert about["evidence"]["windows"] == 2
    assert found["rows"] == 1200
