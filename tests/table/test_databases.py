"""Tables of databases: read alike from PostgreSQL and SQLite, by key, and never written to."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.errors import InputError, OutsideError
from roadworthy.project import Project, load_project
from roadworthy.table import Table, read_table
from roadworthy.table.database.cells import type_cells
from roadworthy.table.database.statement import read_statement
from tests.registry.conftest import Postgres, postgres, postgres_server

__all__ = ["postgres", "postgres_server"]

Fill = Callable[..., str]
DAY = datetime.date(2024, 1, 1)


def sold(rows: int = 200) -> list[tuple[Any, ...]]:
    """Key, area, city, floor, price."""
    return [
        (i, i * 37 % 101 / 4, "abc"[i % 3], i % 7 or None, 1000.0 + i * 13 % 97)
        for i in range(rows)
    ]


COLUMNS = "id integer{key}, area double precision, city text, floor integer, price numeric"


class Database:
    """A database that tests fill by SQL, of either kind."""

    def __init__(self, url: str, connect: Callable[[], Any], mark: str) -> None:
        self.url, self.connect, self.mark = url, connect, mark

    def fill(self, table: str, columns: str, rows: list[tuple[Any, ...]]) -> str:
        with self.connect() as connection:
            connection.execute(f"CREATE TABLE {table} ({columns})")
            marks = ", ".join([self.mark] * len(columns.split(",")))
            connection.cursor().executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        return f"{self.url}#{table}"

    def houses(self, rows: list[tuple[Any, ...]] | None = None, key: str = " primary key") -> str:
        return self.fill("houses", COLUMNS.format(key=key), sold() if rows is None else rows)

    def count(self, table: str = "houses") -> int:
        with self.connect() as connection:
            return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def on_sqlite(folder: Path) -> Database:
    file = folder / "shop.db"
    return Database(f"sqlite:///{file}", lambda: sqlite3.connect(file), "?")


def on_postgresql(server: Postgres) -> Database:
    import psycopg

    return Database(server.url, lambda: psycopg.connect(server.url), "%s")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "sqlite":
        return on_sqlite(tmp_path)
    return on_postgresql(request.getfixturevalue("postgres"))


def queried(database: Database, query: str, target: str = "price") -> Table:
    return read_table(database.url, target, project=Project().override("data", query=query))


def refused(work: Callable[[], object]) -> InputError:
    with pytest.raises(InputError) as caught:
        work()
    return caught.value


def test_a_table_is_read_as_its_parquet_file_is(database: Database, tmp_path: Path) -> None:
    read = read_table(database.houses(), "price")
    file = tmp_path / "houses.parquet"
    names = ["id", "area", "city", "floor", "price"]
    pl.DataFrame(sold(), schema=names, orient="row").write_parquet(file)
    alike = read_table(file, "price")
    assert read.frame.equals(alike.frame)
    assert (read.labels == alike.labels).all()
    assert (read.split.train == alike.split.train).all()
    assert (read.contract, read.name) == (alike.contract, "houses")


@pytest.mark.parametrize("key", [" primary key", ""])
def test_the_same_rows_in_another_order_are_the_same_table(
    database: Database, key: str, tmp_path: Path
) -> None:
    twins = [*sold(), *sold()[:20]] if not key else sold()
    first = read_table(database.houses(twins, key), "price")
    with database.connect() as connection:
        connection.execute("ALTER TABLE houses RENAME TO others")
    second = read_table(database.houses(twins[::-1], key), "price")
    assert first.frame.equals(second.frame)
    assert (first.labels == second.labels).all()
    told = "along its key (id)" if key else "sorted by every column"
    assert first.lineage["order"] == told
    assert told in first.notes[0]


def test_a_query_is_sorted_unless_it_says_an_order_of_its_own(database: Database) -> None:
    database.houses()
    said = queried(
        database, "SELECT id AS n, area, price FROM houses ORDER BY id DESC -- newest\n;"
    )
    assert said.frame["area"].to_list() == [row[1] for row in reversed(sold())]
    sorted_here = queried(database, "WITH h AS (SELECT * FROM houses) SELECT area, price FROM h")
    assert sorted_here.frame["area"].is_sorted()
    assert sorted_here.lineage["rows"] == "200"
    assert "SELECT area" in sorted_here.lineage["query"]


def test_words_in_texts_and_comments_are_not_taken_for_sql(database: Database) -> None:
    database.houses()
    odd = "'it''s 5 %, :x; %(y)s; ORDER BY'"
    query = f'SELECT area, {odd} AS "a;b%", price /* ; DELETE */ FROM houses'
    table = queried(database, query)
    assert table.lineage["order"] == "sorted by every column"
    assert {profile.name for profile in table.profiles} == {"area", "a;b%"}


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM houses",
        "DELETE FROM houses RETURNING *",
        "SELECT * FROM houses; DELETE FROM houses",
        "SELECT * FROM houses) taken; DELETE FROM houses; --",
        "WITH gone AS (DELETE FROM houses RETURNING *) SELECT * FROM gone",
        "WITH gone AS (DELETE FROM houses RETURNING *) SELECT * FROM gone ORDER BY id",
        "DROP TABLE houses",
        "VACUUM",
        "PRAGMA user_version = 3",
    ],
)
def test_a_query_that_writes_is_refused_and_nothing_is_changed(
    database: Database, query: str
) -> None:
    database.houses()
    refused(lambda: queried(database, query))
    assert database.count() == 200


quoted = st.sampled_from(["'{}'", '"{}"', "`{}`", "/*{}*/", "--{}\n", "$${}$$", "$a${}$a$"])
inside = st.lists(
    st.sampled_from([" ORDER BY 1", "; DELETE FROM t", ")", "(", "é", "''", "%", " "]), max_size=5
).map("".join)


@given(parts=st.lists(st.tuples(quoted, inside), max_size=5))
def test_what_is_quoted_is_no_part_of_what_a_query_says(parts: list[tuple[str, str]]) -> None:
    hidden = " ".join(shape.format(text) for shape, text in parts)
    query = f"SELECT {hidden} x FROM (SELECT 1 ORDER BY 1) t"
    assert read_statement(query) == (query, False)
    assert read_statement(f"{query} ORDER /* */ BY x ;\n-- end").ordered
    for more in ("; DELETE FROM t", ") t", "; ;"):
        with pytest.raises(InputError):
            read_statement(query + more)


@given(
    st.lists(st.decimals(allow_nan=False, allow_infinity=False), min_size=1),
    st.lists(st.integers(-(1 << 70), 1 << 70)),
)
def test_numbers_are_as_near_as_a_float_can_be_and_rounding_is_told(
    decimals: list[Decimal], whole: list[int]
) -> None:
    cells = type_cells("x", [None, *decimals, *whole])
    expected = [None, *(float(number) for number in (*decimals, *whole))]
    assert cells.series.to_list() == expected
    exact = all(Decimal(repr(float(number))) == number for number in decimals)
    small = all(int(float(number)) == number for number in whole)
    assert cells.rounded == (not exact or not small)
    integers = type_cells("x", [None, *whole]).series
    if whole and all(-(1 << 63) <= number < 1 << 63 for number in whole):
        assert integers.dtype == pl.Int64
        assert integers.to_list() == [None, *whole]


def test_a_function_that_writes_is_refused(postgres: Postgres) -> None:
    database = on_postgresql(postgres)
    database.houses()
    postgres.execute("CREATE SEQUENCE counter")
    error = refused(lambda: queried(database, "SELECT nextval('counter') AS n, price FROM houses"))
    assert "this one writes" in error.what


@pytest.mark.parametrize(
    ("query", "what", "place"),
    [
        ("SELECT area,\n  price FORM houses", "houses", "line 2, column 14"),
        ("SELECT area, prise AS price FROM houses", "prise", "line 1, column 14"),
        ("SELECT area, price FROM nowhere", "nowhere", "line 1, column 25"),
        ("SELECT area, area, price FROM houses", "'area' in columns 1, 2", "(query)"),
        ("SELECT area, price FROM houses WHERE id < 0", "no rows", "(query)"),
        ("", "empty", "query"),
        ("SELECT area) FROM houses", "closes nothing", "line 1, column 12"),
    ],
)
def test_a_query_that_cannot_be_read_is_refused_with_its_place(
    database: Database, query: str, what: str, place: str
) -> None:
    database.houses()
    error = refused(lambda: queried(database, query))
    assert what in error.what
    assert place in (error.where or "")


def test_a_table_that_is_not_there_is_refused_with_the_near_names(database: Database) -> None:
    address = database.houses()
    error = refused(lambda: read_table(address.replace("houses", "Hauses"), "price"))
    assert "houses" in (error.fix or "")
    error = refused(lambda: read_table(database.url, "price"))
    assert "#TABLE" in (error.fix or "")
    empty = database.fill("bare", "a integer, b integer", [])
    assert "no rows" in refused(lambda: read_table(empty, "a")).what


def test_a_view_in_another_schema_is_read(postgres: Postgres) -> None:
    database = on_postgresql(postgres)
    database.houses()
    postgres.execute("DROP SCHEMA IF EXISTS sales CASCADE")
    postgres.execute("CREATE SCHEMA sales")
    postgres.execute("CREATE VIEW sales.newest AS SELECT * FROM public.houses WHERE id > 100")
    table = read_table(f"{database.url}#sales.newest", "price")
    assert (len(table), table.name) == (99, "newest")
    error = refused(lambda: read_table(f"{database.url}#sales.newst", "price"))
    assert "sales.newest" in (error.fix or "")


def test_types_of_postgresql_are_kept_or_left_out_by_name(postgres: Postgres) -> None:
    postgres.execute("DROP TYPE IF EXISTS mood")
    postgres.execute("CREATE TYPE mood AS ENUM ('sad', 'glad')")
    postgres.execute(
        "CREATE TABLE things (flag boolean, day date, at timestamptz, size numeric(30, 20), "
        "code varchar(3), feeling mood, big bigint, doc jsonb, tags text[], raw bytea, y integer)"
    )
    postgres.execute(
        "INSERT INTO things SELECT i % 2 = 0, CASE WHEN i = 7 THEN 'infinity'::date ELSE "
        "DATE '2024-01-01' + i % 9 END, TIMESTAMPTZ '2024-01-01 12:00+02' + i % 5 * "
        "INTERVAL '1 hour', 1.00000000000000000001 * (i % 6), NULLIF('c' || i % 3, 'c1'), "
        "CASE WHEN i % 2 = 0 THEN 'sad' ELSE 'glad' END::mood, 9007199254740993 + i % 4, "
        "'{}', '{a}', 'x', i % 4 FROM generate_series(0, 99) i"
    )
    table = read_table(
        f"{postgres.url}#things", "y", project=Project().override("data", split="random")
    )
    kinds = {profile.name: profile.kind for profile in table.profiles}
    assert kinds == {
        "flag": "boolean", "day": "date", "at": "date", "size": "number", "code": "category",
        "feeling": "category", "big": "number",
    }  # fmt: skip
    assert table.frame["at"].min() == datetime.datetime(2024, 1, 1, 10)
    assert table.frame["big"].min() == 9007199254740993
    assert table.frame["day"].null_count() == 1  # `infinity`
    assert table.frame["code"].null_count() == 33
    notes = " ".join(table.notes)
    for name, kind in (("doc", "jsonb"), ("tags", "_text"), ("raw", "bytea")):
        assert f"column {name!r} is left out: cells of type {kind}" in notes
    assert "column 'size': rounded" in notes


def test_a_column_of_sqlite_may_hold_anything(tmp_path: Path) -> None:
    rows = [(i, i % 3 or f"t{i % 4}", b"x" if i == 50 else "x", i % 5) for i in range(100)]
    address = on_sqlite(tmp_path).fill("mixed", "id integer primary key, a, b, y", rows)
    table = read_table(address, "y")
    notes = " ".join(table.notes)
    assert "column 'a' mixes types" in notes
    assert "column 'b' is left out" in notes
    assert {profile.name for profile in table.profiles} == {"id", "a"}


def test_a_table_without_a_column_that_can_be_read_is_refused(database: Database) -> None:
    kind = "blob" if database.url.startswith("sqlite") else "bytea"
    address = database.fill("raw", f"a {kind}, b {kind}", [(b"x", b"y")] * 30)
    assert "no column" in refused(lambda: read_table(address, "a")).what


def test_a_table_larger_than_memory_is_drawn_from_and_learned_whole(database: Database) -> None:
    address = database.houses(sold(1000))
    project = Project().override("data", sample_rows=200, drop=("id",))
    table = read_table(address, "price", project=project)
    assert len(table) == 200
    assert table.whole is not None
    assert table.whole.total == 1000
    assert table.contract.rows > 700
    assert "200 of 1,000 rows were drawn" in " ".join(table.notes)


def test_the_password_is_nowhere_to_be_seen(postgres: Postgres) -> None:
    database = on_postgresql(postgres)
    database.houses()
    postgres.execute("DROP ROLE IF EXISTS reader")
    postgres.execute("CREATE ROLE reader LOGIN")
    postgres.execute("GRANT USAGE ON SCHEMA public TO reader")
    secret = database.url.replace("models@", "reader:hunter2@")
    error = refused(lambda: read_table(f"{secret}#houses", "price"))
    assert "permission denied" in error.what
    assert "GRANT SELECT" in (error.fix or "")
    postgres.execute("GRANT SELECT ON houses TO reader")
    table = read_table(f"{secret}#houses", "price")
    postgres.execute("DROP OWNED BY reader")
    shown = f"{error} {table.source} {table.notes} {dict(table.lineage)} {table.name}"
    assert "hunter2" not in shown
    assert "reader" not in shown
    for address in (f"{secret}x#houses", secret, f"{secret}?password=hunter2#none"):
        with pytest.raises((InputError, OutsideError)) as caught:
            read_table(address, "price")
        assert "hunter2" not in str(caught.value)


def test_a_database_that_is_not_there_is_told(postgres: Postgres, tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match="cannot be read"):
        read_table(f"{postgres.url}none#houses", "price")
    with pytest.raises(OutsideError, match="connection failed"):
        read_table("postgresql://127.0.0.1:1/none#houses", "price")
    assert (
        "does not exist" in refused(lambda: read_table(f"sqlite:///{tmp_path}/no.db#t", "y")).what
    )
    assert not (tmp_path / "no.db").exists()
    (tmp_path / "text.db").write_text("a,b\n1,2\n")
    error = refused(lambda: read_table(f"sqlite:///{tmp_path}/text.db#t", "y"))
    assert "not an SQLite database" in error.what


def test_a_driver_that_is_not_installed_is_named() -> None:
    with pytest.raises(OutsideError) as caught:
        read_table("mysql://me@127.0.0.1/shop#houses", "price")
    assert "pymysql" in (caught.value.fix or "")


def test_an_address_of_another_kind_is_refused_with_those_that_are_read() -> None:
    error = refused(lambda: read_table("mongodb://127.0.0.1/shop", "price"))
    assert "postgresql://" in (error.fix or "")


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ("path = 'postgresql://me:secret@db/shop#houses'", "data.path"),
        ("path = 'postgresql://db/shop?password=secret#houses'", "data.path"),
        ("path = 'postgresql://db/shop#houses'\nquery = 'SELECT 1'", "data.path"),
        ("path = 'sqlite:///shop.db'\nquery = 'SELECT 1'\nquery_file = 'q.sql'", "data.path"),
    ],
)
def test_a_project_file_tells_no_password_and_one_thing_to_read(
    tmp_path: Path, lines: str, key: str
) -> None:
    file = tmp_path / "roadworthy.toml"
    file.write_text(f"[data]\n{lines}\n")
    error = refused(lambda: load_project(file))
    assert key in error.what
    assert "secret" not in str(error)


def test_a_project_file_names_a_file_of_sql(tmp_path: Path) -> None:
    database = on_sqlite(tmp_path)
    database.houses()
    (tmp_path / "houses.sql").write_text("-- all of them\nSELECT area, city, price FROM houses\n")
    file = tmp_path / "roadworthy.toml"
    file.write_text(
        f"[data]\npath = '{database.url}'\nquery_file = '{tmp_path}/houses.sql'\ntarget = 'price'\n"
    )
    project = load_project(file)
    table = read_table(project.data.path, project=project)
    assert len(table) == 200
    (tmp_path / "houses.sql").unlink()
    assert "query_file" in (refused(lambda: read_table(database.url, project=project)).where or "")
