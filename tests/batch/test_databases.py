"""Models of a database's table: as those of its Parquet file, and predictions alike."""

from __future__ import annotations

import datetime
import itertools
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from roadworthy.batch import predict_files
from roadworthy.bundle import Bundle
from roadworthy.bundle.write import package
from roadworthy.cli import app
from roadworthy.errors import InputError, OutsideError
from roadworthy.evaluate import test as evaluate
from roadworthy.project import DataSection, Project, load_project
from roadworthy.table import read_table
from roadworthy.table.database import copying
from roadworthy.train import train
from tests.batch.conftest import rows, scored
from tests.registry.conftest import Postgres, postgres, postgres_server
from tests.serve.test_http import wait_for

__all__ = ["postgres", "postgres_server"]

TYPES = {
    "id": "integer primary key", "size": "double precision", "count": "bigint", "word": "text",
    "flag": "boolean", "day": "date", "at": "timestamp with time zone", "y": "integer",
}  # fmt: skip
HELD = {
    "id": pl.Int64, "size": pl.Float64, "count": pl.Int64, "word": pl.String, "flag": pl.Boolean,
    "day": pl.Date, "at": pl.Datetime("us", "UTC"), "y": pl.Int64,
}  # fmt: skip
NUMBER = itertools.count()


def in_both(
    frame: pl.DataFrame, types: dict[str, str], folder: Path, server: Postgres
) -> dict[str, str]:
    """The addresses of a table in both kinds of database."""
    name = f"t{next(NUMBER)}"
    columns = ", ".join(f'"{column}" {kind}' for column, kind in types.items())
    with psycopg.connect(server.url) as connection:
        connection.execute(f"CREATE TABLE {name} ({columns})")  # type: ignore[arg-type]
        marks = ", ".join(["%s"] * frame.width)
        connection.cursor().executemany(f"INSERT INTO {name} VALUES ({marks})", frame.rows())  # type: ignore[arg-type]
    with sqlite3.connect(folder / "shop.db") as lite:
        lite.execute(f"CREATE TABLE {name} ({columns})")
        cells = [
            [str(cell) if isinstance(cell, datetime.date) else cell for cell in row]
            for row in frame.rows()
        ]
        lite.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * frame.width)})", cells)
    return {
        "postgresql": f"{server.url}#{name}",
        "sqlite": f"sqlite:///{folder}/shop.db#{name}",
    }


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
cells = st.tuples(
    st.none() | st.floats(width=64),
    st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
    st.none() | words | st.sampled_from(["NA", "yes", "no", "'", '"', "%s", ";--"]),
    st.none() | st.booleans(),
    st.none() | st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 1, 1)),
    st.none()
    | st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1)).map(
        lambda moment: moment.replace(microsecond=0, tzinfo=datetime.UTC)
    ),
)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(drawn=st.lists(cells, min_size=3, max_size=12))
def test_a_table_is_the_same_from_parquet_and_from_both_databases(
    postgres: Postgres,
    tmp_path: Path,
    drawn: list[tuple[Any, ...]],
) -> None:
    made = [(i, *drawn[i % len(drawn)], i * 7 % 13) for i in range(80)]
    frame = pl.DataFrame(made, schema=HELD, orient="row")
    frame.write_parquet(tmp_path / "table.parquet")
    project = Project().override("data", split="random")

    def read(source: object) -> Any:
        try:
            table = read_table(str(source), "y", project=project, name="t")
        except InputError as error:
            return error.what
        used = [profile.name for profile in table.profiles if profile.used]
        return table.frame.select(used), table.labels.tolist(), table.split.holdout.tolist()

    expected = read(tmp_path / "table.parquet")
    for kind, address in in_both(frame, TYPES, tmp_path, postgres).items():
        found = read(address)
        if isinstance(expected, str):
            assert found == expected, kind
        else:
            assert found[0].equals(expected[0]), kind
            assert found[1:] == expected[1:], kind


def trained(source: str, folder: Path) -> Bundle:
    project = Project().override("train", candidates=("linear",), budget="20s", folds=2)
    table = read_table(source, "bought", project=project, name="shop")
    model = train(table, project=project)
    return package(model, evaluate(model, table.holdout), directory=folder)


def test_the_same_model_comes_of_parquet_and_of_both_databases_and_predicts_alike(
    postgres: Postgres,
    tmp_path: Path,
) -> None:
    frame = rows(300)
    label = (frame["size"].fill_null(9.0) + frame["old"].cast(pl.Float64) > 10.5).cast(pl.String)
    frame = frame.with_columns(label.alias("bought")).sort("id")
    frame.write_parquet(tmp_path / "shop.parquet")
    alone = trained(f"{tmp_path}/shop.parquet", tmp_path / "alone")
    types = {"id": "text primary key", "size": "double precision", "colour": "text",
             "old": "boolean", "bought": "text"}  # fmt: skip
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
    for kind, address in in_both(shuffled, types, tmp_path, postgres).items():
        found = trained(address, tmp_path / kind)
        assert found.core == alone.core
        lineage = found.manifest.lineage
        assert lineage["data"] == alone.manifest.lineage["data"]
        assert (lineage["rows"], lineage["table"]) == ("300", address.rpartition("#")[2])
        assert "models" not in lineage["database"]
        assert str(tmp_path) not in msgspec.json.encode(found.manifest).decode()
        expected = alone.predict(frame)
        assert found.predict(address).equals(expected)
        out = tmp_path / f"{kind}-out"
        result = predict_files([address], alone, str(out), keep=["id"], workers=1)
        assert (result.rows, result.resumed) == (300, 0)
        parts = scored(out)
        assert parts["id"].to_list() == frame["id"].to_list()
        assert parts.select(expected.columns).equals(expected)
        assert predict_files([address], alone, str(out), keep=["id"], workers=1).resumed == 1
        assert "models@" not in (out / "_manifest.json").read_text()


def filled(folder: Path, count: int = 50) -> str:
    with sqlite3.connect(folder / "shop.db") as connection:
        connection.execute("CREATE TABLE shop (id text primary key, size real, colour text, old)")
        connection.executemany("INSERT INTO shop VALUES (?, ?, ?, ?)", rows(count).rows())
    return f"sqlite:///{folder}/shop.db"


def test_a_run_over_a_table_that_has_changed_does_not_go_on(bundle: Bundle, tmp_path: Path) -> None:
    address = filled(tmp_path)
    out = str(tmp_path / "out")
    query = "SELECT * FROM shop"
    assert predict_files([address], bundle, out, query=query, workers=1).rows == 50
    assert predict_files([address], bundle, out, query=query, workers=1).resumed == 1
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("UPDATE shop SET size = 1 WHERE id = 'row-7'")
    with pytest.raises(InputError, match="other inputs"):
        predict_files([address], bundle, out, query=query, workers=1)
    with pytest.raises(InputError, match="cluster"):
        predict_files([address], bundle, out, query=query, engine="ray")


def test_predict_writes_a_table_s_answers_into_a_file_beside_its_keys(
    bundle: Bundle, tmp_path: Path
) -> None:
    address, output = filled(tmp_path), tmp_path / "scored.csv"
    model = ["--model", str(bundle.path)]
    run = CliRunner().invoke(
        app,
        ["predict", f"{address}#shop", *model, "--keep", "id", "-o", str(output), "--json"],
    )
    assert run.exit_code == 0, run.output
    assert json.loads(run.output)["rows"] == 50
    found = pl.read_csv(output)
    assert found["id"].to_list() == sorted(f"row-{number}" for number in range(50))
    query = "SELECT size, colour, old FROM shop WHERE id = 'row-3'"
    run = CliRunner().invoke(
        app, ["predict", address, "--query", query, *model, "-o", str(output), "--json"]
    )
    assert json.loads(run.output)["rows"] == 1
    with pytest.raises(InputError, match="to keep"):
        CliRunner().invoke(
            app,
            ["predict", f"{address}#shop", *model, "--keep", "no", "-o", str(output)],
            catch_exceptions=False,
        )
    assert pl.read_csv(output).height == 1


def test_a_connection_that_is_cut_leaves_nothing_half_written(
    postgres: Postgres,
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    postgres.execute(
        "CREATE TABLE many AS SELECT i AS id, i * 1.0 AS size, 'red' AS colour, true AS old "
        "FROM generate_series(1, 5000) i"
    )
    monkeypatch.setattr(copying, "_MOST_ROWS", 1000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    whole = copying._typed

    def cut(*asked: Any) -> pl.DataFrame:
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'roadworthy'"
        )
        return whole(*asked)

    monkeypatch.setattr(copying, "_typed", cut)
    with pytest.raises(OutsideError, match="the connection was cut"):
        predict_files([f"{postgres.url}#many"], bundle, str(tmp_path / "out"), workers=1)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def behind_a_password(postgres: Postgres) -> Iterator[str]:
    """A user who is asked for a password."""
    rules = postgres.data / "pg_hba.conf"
    before = rules.read_text()
    postgres.execute("DROP ROLE IF EXISTS careful")
    postgres.execute("CREATE ROLE careful LOGIN PASSWORD 'open sesame'")
    rules.write_text(f"host all careful 127.0.0.1/32 scram-sha-256\n{before}")
    postgres.execute("SELECT pg_reload_conf()")
    address = postgres.url.replace("models@", "careful@")

    def asked() -> bool:
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            return True
        return False

    wait_for(asked)
    yield address
    rules.write_text(before)
    postgres.execute("SELECT pg_reload_conf()")


def test_a_wrong_password_is_told_and_a_right_one_comes_from_the_environment_or_a_file(
    behind_a_password: str,
    postgres: Postgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    postgres.execute(
        "CREATE TABLE open AS SELECT i AS id, i % 7 AS y FROM generate_series(1, 99) i"
    )
    postgres.execute("GRANT USAGE ON SCHEMA public TO careful")
    postgres.execute("GRANT SELECT ON open TO careful")
    address = f"{behind_a_password}#open"
    monkeypatch.setenv("PGPASSWORD", "open barley")
    with pytest.raises(OutsideError, match="password authentication failed") as caught:
        copying.copy_table(address, DataSection())
    assert "PGPASSFILE" in (caught.value.fix or "")
    assert "barley" not in str(caught.value)
    monkeypatch.setenv("PGPASSWORD", "open sesame")
    assert copying.copy_table(address, DataSection()).lineage["rows"] == "99"
    monkeypatch.delenv("PGPASSWORD")
    (tmp_path / "pgpass").write_text("*:*:*:careful:open sesame\n")
    (tmp_path / "pgpass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    assert copying.copy_table(address, DataSection()).lineage["rows"] == "99"
    postgres.execute("DROP OWNED BY careful")


def test_a_project_of_a_query_is_begun_and_read_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = filled(tmp_path)
    monkeypatch.chdir(tmp_path)
    query = "SELECT size, colour, old FROM shop WHERE size > 0"
    run = CliRunner().invoke(app, ["init", address, "--target", "old", "--query", query])
    assert run.exit_code == 0, run.output
    project = load_project(tmp_path / "roadworthy.toml")
    assert (project.data.path, project.data.query) == (address, query)
    run = CliRunner().invoke(app, ["prepare", "--json"])
    assert [column["column"] for column in json.loads(run.output)["columns"]] == ["size", "colour"]
    (tmp_path / "roadworthy.toml").unlink()
    secret = "postgresql://me:hunter2@127.0.0.1/shop#orders"
    with pytest.raises(InputError, match="no password") as caught:
        CliRunner().invoke(app, ["init", secret, "--target", "y"], catch_exceptions=False)
    assert "hunter2" not in str(caught.value)
    assert not (tmp_path / "roadworthy.toml").exists()


def test_a_query_takes_the_place_of_the_table_that_the_project_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address = filled(tmp_path)
    text = f"[data]\npath = {json.dumps(address + '#shop')}\ntarget = 'old'\n"
    (tmp_path / "roadworthy.toml").write_text(text)
    asked = ["prepare", address, "--query", "SELECT size, colour, old FROM shop"]
    run = CliRunner().invoke(app, [*asked, "--explain"])
    assert run.exit_code == 0, run.output
    writing = CliRunner().invoke(app, [*asked[:-1], "DELETE FROM shop"])
    assert "this begins with DELETE" in str(writing.exception)


def test_predictions_go_to_no_table(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown address sqlite://"):
        predict_files([filled(tmp_path)], bundle, "sqlite:///x.db#y", query="SELECT * FROM shop")
