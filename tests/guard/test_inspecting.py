from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import roadworthy as rw
from roadworthy.cli.output import print_error
from roadworthy.errors import CheckFailed, FindingsError, InputError, ProjectError
from roadworthy.guard import CHECKS, check, inspect
from roadworthy.project import GuardSection, Project, load_project
from roadworthy.project.guard import CheckName
from roadworthy.table import Table, read_table
from tests.conftest import DATA
from tests.guard.tables import clean, names


@pytest.fixture(scope="module")
def leaking() -> Table:
    hit = (clean()["y"] == "yes").cast(pl.Float64)
    return read_table(clean().with_columns(hit.alias("a"), (hit * -2).alias('b "x"')), "y")


def acknowledging(*entries: str) -> Project:
    return Project().override("guard", acknowledge=entries)


def test_serious_findings_stop_all_at_once_with_the_lines_that_go_on(leaking: Table) -> None:
    with pytest.raises(FindingsError) as caught:
        check(leaking)
    assert isinstance(caught.value, CheckFailed)
    assert caught.value.exit_code == 1
    assert [finding["columns"] for finding in caught.value.findings] == [("a",), ('b "x"',)]
    line = str(caught.value.fix).split("[guard] ")[1]
    said = tuple(tomllib.loads(line)["acknowledge"])
    findings = check(leaking, acknowledging(*said))  # what the message says works as it stands
    assert [f.acknowledged for f in findings if f.severity == "serious"] == [True, True]


@pytest.mark.parametrize("entries", [("leakage:a",), ("leakage:b",), ("duplicates",)])
def test_what_is_not_acknowledged_still_stops(leaking: Table, entries: tuple[str, ...]) -> None:
    with pytest.raises(FindingsError):
        check(leaking, acknowledging(*entries))


def test_a_check_is_acknowledged_as_a_whole(leaking: Table) -> None:
    assert names(check(leaking, acknowledging("leakage")), "serious")


def test_an_acknowledgement_of_nothing_is_a_note(leaking: Table) -> None:
    findings = check(leaking, acknowledging("leakage", "leakage:z", "nonsense"))
    notes = [f for f in findings if f.check == "guard"]
    assert [f.evidence["acknowledge"] for f in notes] == ["leakage:z", "nonsense"]
    assert "did you mean 'leakage:a'" in notes[0].fix


def test_checks_can_be_chosen_and_turned_off(leaking: Table) -> None:
    assert inspect(leaking, GuardSection(checks="off")) == ()
    chosen = inspect(leaking, GuardSection(checks=("leakage", "columns")))
    assert {f.check for f in chosen} == {"leakage"}
    assert check(leaking, Project().override("guard", checks="off")) == ()


def test_every_check_has_its_name_in_the_project_file() -> None:
    assert tuple(CHECKS) == CheckName.__args__  # type: ignore[attr-defined]
    assert all(entry.name == name for name, entry in CHECKS.items())


@pytest.mark.parametrize(
    "text", ["checks = ['leakage', 'dupes']", "checks = 'some'", "acknowledge = ['']", "of = 1"]
)
def test_a_wrong_guard_section_is_an_error_that_names_the_key(tmp_path: Path, text: str) -> None:
    file = tmp_path / "roadworthy.toml"
    file.write_text(f"[guard]\n{text}\n")
    with pytest.raises(ProjectError) as caught:
        load_project(file, environment={})
    assert "guard" in str(caught.value)


def test_the_environment_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    project = load_project(environment={"ROADWORTHY_GUARD_CHECKS": "off"})
    assert project.guard.checks == "off"


def test_the_same_seed_gives_the_same_findings_and_the_table_is_left_as_it_is() -> None:
    table = read_table(DATA / "titanic.csv", "survived")
    before = table.frame.clone()
    assert inspect(table, seed=3) == inspect(table, seed=3)
    assert table.frame.equals(before)


def test_findings_are_plain_data(leaking: Table) -> None:
    document = json.loads(msgspec.json.encode(rw.inspect(leaking)))
    assert document[0]["check"] == "leakage"
    assert set(document[0]) == {
        "check", "severity", "columns", "what", "evidence", "fix", "acknowledged",
    }  # fmt: skip


def test_large_tables_are_sampled_and_the_evidence_says_so() -> None:
    frame = clean(30_000).with_columns((pl.col("y") == "yes").cast(pl.Float64).alias("leak"))
    (finding,) = inspect(read_table(frame, "y"), GuardSection(checks=("leakage",)), budget=5)
    assert finding.evidence["rows"] < finding.evidence["of_rows"] == 24_000


def test_what_stops_is_data_for_machines(
    leaking: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FindingsError) as caught:
        check(leaking)
    print_error(caught.value, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == 1
    assert told["error"]["findings"][0]["evidence"]["score"] > 0.9


def launch(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "roadworthy", "launch", str(DATA / "titanic.csv"), "--target",
         "survived", "--budget", "8s", "--no-serve", *options],
        capture_output=True, text=True, cwd=folder, timeout=120,
    )  # fmt: skip


def test_launch_stops_at_a_leak_and_writes_nothing(tmp_path: Path) -> None:
    done = launch(tmp_path)
    assert done.returncode == 1
    assert "leakage:boat: " in done.stderr
    assert '[guard] acknowledge = ["leakage:boat"]' in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_launch_goes_on_when_the_leak_is_acknowledged(tmp_path: Path) -> None:
    (tmp_path / "roadworthy.toml").write_text('[guard]\nacknowledge = ["leakage:boat"]\n')
    done = launch(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    leak = json.loads(done.stdout)["findings"][0]
    assert (leak["severity"], leak["acknowledged"]) == ("serious", True)


CELLS: dict[str, st.SearchStrategy[Any]] = {
    "numbers": st.floats() | st.none(),
    "huge": st.sampled_from([1e308, -1e308, 5e-324, 0.0, -0.0, None, float("inf")]),
    "integers": st.integers(-(2**63), 2**63 - 1),
    "texts": st.text(max_size=6) | st.none(),
    "levels": st.sampled_from(["ß", "日本", "", " a", "A", "0", "1", None]),
    "flags": st.booleans() | st.none(),
    "moments": st.datetimes() | st.none(),
    "blank": st.none(),
}
TARGETS: dict[str, st.SearchStrategy[Any]] = {
    "two": st.sampled_from(["yes", "no"]),
    "rare": st.sampled_from(["a"] * 30 + ["b", "c", None]),
    "number": st.floats() | st.none(),
    "huge": st.sampled_from([1e308, -1e308, 0.0, 1.0, 2.0, 1e-300]),
    "count": st.integers(0, 500),
}


@st.composite
def tables(draw: st.DrawFn) -> Table | None:
    """Any table that can be read; None for one that cannot."""
    rows = draw(st.integers(20, 90))
    kinds = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=6))
    random = draw(st.randoms(use_true_random=False))

    def column(cells: st.SearchStrategy[Any]) -> list[Any]:
        pool = draw(st.lists(cells, min_size=2, max_size=25))
        return [random.choice(pool) for _ in range(rows)]

    data = {f"{kind} {place}": column(CELLS[kind]) for place, kind in enumerate(kinds)}
    data["id"] = list(range(rows))
    data["y"] = column(TARGETS[draw(st.sampled_from(sorted(TARGETS)))])
    role = draw(
        st.sampled_from([{}, {}, {"group": "id"}, {"time": "id"}, {"group": next(iter(data))}])
    )
    try:
        frame = pl.DataFrame(data, strict=False)
        return read_table(frame, "y", project=Project().override("data", **role))
    except InputError:
        return None


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables())
def test_any_table_that_can_be_read_gives_findings_and_never_an_exception(
    table: Table | None,
) -> None:
    if table is None:
        return
    findings = inspect(table)
    assert [f.evidence for f in findings if "failed" in f.evidence] == []
    msgspec.json.encode(findings)
    assert len({f.names[0] + f.what for f in findings}) == len(findings)
    without_holdout = inspect(table.training)
    assert [f.evidence for f in without_holdout if "failed" in f.evidence] == []


@pytest.mark.parametrize("columns", [1, 200])
def test_few_and_many_columns(columns: int) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(60, columns))
    frame = pl.DataFrame(x, schema=[f"x{i}" for i in range(columns)])
    frame = frame.with_columns(pl.Series("y", x[:, 0] + random.normal(size=60) > 0))
    findings = inspect(read_table(frame, "y"))
    assert names(findings, "serious") == set()
    assert not any("failed" in finding.evidence for finding in findings)
