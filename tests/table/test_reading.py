"""Reading tables: what is found out, what is refused, and with which words."""

from __future__ import annotations

import contextlib
import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.cells import WHITE_SPACE
from roadworthy.errors import InputError
from roadworthy.project import (
    ColumnOptions,
    ColumnPreparation,
    DataSection,
    PrepareSection,
    Project,
)
from roadworthy.table import Table, read_table
from roadworthy.table.sources import from_pandas_alone
from tests.conftest import DATA


def csv(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def column(table: Table, name: str) -> pl.Series:
    return table.frame[name]


def kinds(table: Table) -> dict[str, str]:
    return {profile.name: profile.kind for profile in table.profiles}


def rows(line: str, count: int = 40) -> str:
    """`count` lines from a template in which {i} counts and {p} alternates."""
    return "".join(line.format(i=i, p="ab"[i % 2], n=i * 1.5) + "\n" for i in range(count))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiter_and_line_end_are_found_out(tmp_path: Path, delimiter: str, end: str) -> None:
    text = ("x,y\n" + rows("{n},{p}")).replace(",", delimiter).replace("\n", end)
    table = read_table(csv(tmp_path, text), "y")
    assert (len(table), table.classes) == (40, ("a", "b"))
    assert column(table, "x").to_list()[:3] == [0.0, 1.5, 3.0]


@pytest.mark.parametrize("lines", ["", "1,\n" * 30, "1,a\n" * 5])
def test_a_table_without_enough_targets_names_the_column(tmp_path: Path, lines: str) -> None:
    with pytest.raises(InputError) as refused:
        read_table(
            csv(tmp_path, "x,y\n" + lines), "y", project=Project(data=DataSection(header=True))
        )
    assert refused.value.where == "target column 'y'"


def test_quoted_cells_may_hold_delimiters_quotes_and_line_breaks(tmp_path: Path) -> None:
    text = "c,x,y\n" + rows('"a, ""b""\nline {p}",{n},{p}')
    table = read_table(csv(tmp_path, text), "y")
    assert set(column(table, "c")) == {'a, "b"\nline a', 'a, "b"\nline b'}


def test_a_file_without_a_header_gets_numbered_columns(tmp_path: Path) -> None:
    table = read_table(csv(tmp_path, rows("{i}.5,7{n},{p}")), "column_3")
    assert list(table.frame.columns) == ["column_1", "column_2"]
    assert len(table) == 40


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252", "latin-1"])
def test_encodings_are_found_out(tmp_path: Path, encoding: str) -> None:
    text = "stadt,x,y\n" + rows("Zürich,{n},{p}") + rows("Köln,{n},{p}")
    table = read_table(csv(tmp_path, text.encode(encoding)), "y")
    assert set(column(table, "stadt")) == {"Zürich", "Köln"}


def test_one_stray_byte_does_not_stop_a_table(tmp_path: Path) -> None:
    body = ("c,x,y\n" + rows("plain,{n},{p}", 5000)).encode()
    table = read_table(csv(tmp_path, body + b"caf\xe9,1,a\n" * 30), "y")
    assert "café" in set(column(table, "c"))


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_compressed_files_are_read(tmp_path: Path, suffix: str) -> None:
    import bz2
    import lzma

    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[suffix]
    file = csv(tmp_path, pack(("x,y\n" + rows("{n},{p}")).encode()), f"t.csv{suffix}")
    table = read_table(file, "y")
    assert (table.name, len(table)) == ("t", 40)


@pytest.mark.parametrize("blank", ["", "NA", "NaN", "null", "?", " ", "N/A", "None"])
def test_blanks_have_many_spellings(tmp_path: Path, blank: str) -> None:
    text = "x,c,y\n" + rows("{n},u,{p}") + f"{blank},{blank},a\n" + rows("{n},v,{p}")
    table = read_table(csv(tmp_path, text), "y")
    assert column(table, "x").null_count() == column(table, "c").null_count() == 1
    assert kinds(table) == {"x": "number", "c": "category"}


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1,234.5", "12.5"], "number", [1234.5, 12.5]),
        (["1.234,5", "12,5"], "number", [1234.5, 12.5]),
        (["-3", "+4"], "number", [-3, 4]),
        (["1e3", "2.5E-1"], "number", [1000.0, 0.25]),
        (["yes", "No"], "boolean", [True, False]),
        (["TRUE", "false"], "boolean", [True, False]),
        (["0", "1"], "boolean", [False, True]),
        (["0123", "0045"], "category", ["0123", "0045"]),
        (["red", "blue"], "category", ["red", "blue"]),
    ],
)
def test_kinds_of_text(tmp_path: Path, cells: list[str], kind: str, values: list[object]) -> None:
    text = "v,x,y\n" + rows(f'"{cells[0]}",{{n}},a') + rows(f'"{cells[1]}",{{n}},b')
    table = read_table(csv(tmp_path, text), "y")
    assert kinds(table)["v"] == kind
    found = column(table, "v").to_list()
    assert [found[0], found[-1]] == values


@pytest.mark.parametrize(
    ("cells", "iso"),
    [
        (["2024-02-29", "2023-01-31"], "2024-02-29T00:00:00"),
        (["31/12/2024", "01/02/2023"], "2024-12-31T00:00:00"),
        (["12/31/2024", "02/01/2023"], "2024-12-31T00:00:00"),
        (["31.12.2024", "01.02.2023"], "2024-12-31T00:00:00"),
        (["2024-02-29 13:45:10", "2023-01-31 00:00:00"], "2024-02-29T13:45:10"),
        (["2024-02-29T13:45:10Z", "2023-01-31T00:00:00Z"], "2024-02-29T13:45:10"),
        (["2024-02-29T13:45:10+02:00", "2023-01-31T00:00:00+01:00"], "2024-02-29T11:45:10"),
        (["29 Feb 2024", "31 Jan 2023"], "2024-02-29T00:00:00"),
        (["29 February 2024", "31 January 2023"], "2024-02-29T00:00:00"),
        (['"February 29, 2024"', '"January 31, 2023"'], "2024-02-29T00:00:00"),
        (["2024-02-29", "2023-01-31T00:00:00+01:00"], "2024-02-29T00:00:00"),
    ],
)
def test_dates(tmp_path: Path, cells: list[str], iso: str) -> None:
    text = "d,x,y\n" + rows(f"{cells[0]},{{n}},a") + rows(f"{cells[1]},{{n}},b")
    table = read_table(csv(tmp_path, text), "y")
    assert kinds(table)["d"] == "date"
    assert column(table, "d")[0].isoformat() == iso
    learned = {c.name: c for c in table.contract.columns}["d"]
    epoch = learned.read_text(cells[0].strip('"'), ("",))
    assert epoch == (np.datetime64(iso) - np.datetime64("1970-01-01")) / np.timedelta64(1, "s")


def test_a_line_with_too_few_cells_is_named(tmp_path: Path) -> None:
    whole = read_table(csv(tmp_path, "v,x,y\n" + rows("1,{n},a") + rows(",{n},b")), "y")
    assert not [note for note in whole.notes if "fewer cells" in note]
    text = "v,y,x\n" + rows("1,a,") + "2,b\n" + rows("2,b,{n}")
    (note,) = [n for n in read_table(csv(tmp_path, text), "y").notes if "fewer cells" in n]
    assert "line 42 " in note


def test_a_quote_that_is_never_closed_is_named_where_it_opens(tmp_path: Path) -> None:
    text = "x,y\n" + rows("{n},a", 30) + '"7,b\n' + rows("{n},b", 30)
    with pytest.raises(InputError) as found:
        read_table(csv(tmp_path, text), "y")
    assert found.value.where is not None
    assert found.value.where.endswith("line 32")
    assert "runs to line 62" in found.value.what


@pytest.mark.parametrize(
    "text", ['{"x": 1, "y": "a"}\n' * 40, '[\n  {"a \\" b" : 1}]', '[{"x":[1],"y":2}]']
)
def test_json_is_called_json(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="the file is JSON"):
        read_table(csv(tmp_path, text), "y")


@pytest.mark.parametrize("header", ["[x],{y},y", "{1},b,y", '"{""x"": 1}",b,y', "[],{},y"])
def test_a_header_in_brackets_is_no_json(tmp_path: Path, header: str) -> None:
    assert len(read_table(csv(tmp_path, header + "\n" + rows("{n},{i},{p}")), "y").frame) == 40


def test_identifiers_and_constants_are_left_out_with_a_reason_and_sentences_are_text(
    tmp_path: Path,
) -> None:
    text = "id,key,same,empty,note,x,y\n" + rows(
        "{i},k{i}z,1,,word {i} and some more words here {n},{n},{p}", 200
    )
    table = read_table(csv(tmp_path, text), "y")
    assert kinds(table) == {
        "id": "identifier", "key": "identifier", "same": "constant", "empty": "constant",
        "note": "text", "x": "number",
    }  # fmt: skip
    assert table.contract.names == ("note", "x")
    assert set(table.contract.ignored) == {"id", "key", "same", "empty"}
    dropping = read_table(
        csv(tmp_path, text), "y", project=Project(prepare=PrepareSection(text="drop"))
    )
    assert dropping.contract.names == ("x",)
    assert all(profile.why_not for profile in table.profiles if not profile.used)


def test_the_project_file_overrides_a_kind(tmp_path: Path) -> None:
    file = csv(tmp_path, "zip,x,y\n" + rows("{i},{n},{p}", 60).replace("59,", "3,"))
    columns = {"zip": ColumnOptions(kind="category"), "x": ColumnOptions(kind="text")}
    table = read_table(file, "y", project=Project(data=DataSection(columns=columns)))
    assert kinds(table) == {"zip": "category", "x": "text"}
    assert column(table, "zip")[0] == "0"
    wrong = Project(data=DataSection(columns={"zip": ColumnOptions(kind="date")}))
    with pytest.raises(InputError, match="kind 'date'"):
        read_table(file, "y", project=wrong)


def test_rows_with_a_blank_can_be_dropped_and_such_requests_are_then_refused(
    tmp_path: Path,
) -> None:
    text = "a,b,y\n" + "".join(
        f"{i if i % 10 else ''},{'' if i == 7 else i % 3},{i % 2}\n" for i in range(200)
    )
    said = {"a": ColumnPreparation(impute="drop_rows")}
    project = Project(prepare=PrepareSection(columns=said))
    table = read_table(csv(tmp_path, text), "y", project=project)
    assert len(table) == 180
    assert any("20 rows dropped: 'a' is blank" in note for note in table.notes)
    assert [c.on_blank for c in table.contract.columns] == ["error", "impute"]
    every = Project(prepare=PrepareSection(number_impute="drop_rows"))
    assert len(read_table(csv(tmp_path, text), "y", project=every)) == 179
    mostly = "a,y\n" + "".join(f"{i if i < 15 else ''},{i % 2}\n" for i in range(200))
    with pytest.raises(InputError, match="15 rows have no blank"):
        read_table(csv(tmp_path, mostly), "y", project=every)


def test_columns_with_more_blanks_than_wanted_are_left_out(tmp_path: Path) -> None:
    text = "a,b,y\n" + "".join(
        f"{i % 17 if i % 10 == 0 else ''},{i % 37},{i % 2}\n" for i in range(200)
    )
    project = Project(prepare=PrepareSection(drop_columns_above=0.8))
    table = read_table(csv(tmp_path, text), "y", project=project)
    assert table.contract.names == ("b",)
    assert "90.0% blank" in (table.profiles[0].why_not or "")
    assert read_table(csv(tmp_path, text), "y").contract.names == ("a", "b")


def test_a_preparation_of_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    said = {"aeg": ColumnPreparation(impute="median")}
    file = csv(tmp_path, "age,y\n" + rows("{i},{p}", 60))
    with pytest.raises(InputError, match="no column 'aeg'") as caught:
        read_table(file, "y", project=Project(prepare=PrepareSection(columns=said)))
    assert caught.value.where == "[prepare.columns]"
    assert "'age'" in caught.value.fix


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("", "y", "empty"),
        ("\n\n", "y", "empty"),
        ("x,y\n", "y", "no rows"),
        ("x,y\n1,a\n", "y", "too few"),
        ("x,y\n" + rows("{n},a"), "y", "one value"),
        ("x,y\n" + rows("{n},"), "y", "blank"),
        ("x,y\n" + rows("{n},{p}"), "z", "no column 'z'"),
        ("x,y\n" + rows("{n},{p}"), "Y", "did you mean 'y'"),
        ("x,y,x\n" + rows("{n},{p},1"), "y", "'x' in columns 1, 3"),
        ("x,y\n" + rows("{n},{p}") + "1,2,3\n", "y", "line 42"),
        ("x,y\n" + rows("{n},{p}") + "1,c\n", "y", "single row"),
        ("x,y\n" + rows("1,{p}"), "y", "no column is left"),
        ("x,y\n" + rows("{n},{p}") + '"open,a\n', "y", "where"),
        ("PAR1\0\0\0binary", "y", "NUL"),
    ],
)
def test_hopeless_tables_get_a_clear_error(
    tmp_path: Path, text: str, target: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_table(csv(tmp_path, text), target)
    assert message in str(caught.value)


def test_a_file_that_is_not_what_its_name_says(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a Parquet file"):
        read_table(csv(tmp_path, "x,y\n1,2\n", "t.parquet"), "y")
    with pytest.raises(InputError, match="cannot be unpacked"):
        read_table(csv(tmp_path, "x,y\n1,2\n", "t.csv.gz"), "y")
    with pytest.raises(InputError, match="does not exist"):
        read_table(tmp_path / "nowhere.csv", "y")
    with pytest.raises(InputError, match="a folder"):
        read_table(tmp_path, "y")


def frame_rows() -> dict[str, list[object]]:
    return {
        "x": [float(i) if i % 7 else None for i in range(60)],
        "n": [i % 5 for i in range(60)],
        "c": ["u" if i % 3 else None for i in range(58)] + ["v", "v"],
        "b": [i % 4 == 0 for i in range(60)],
        "y": [["no", "yes"][i % 2] for i in range(60)],
    }


def test_frames_of_every_library_make_the_same_table() -> None:
    cells = frame_rows()
    tables = [
        read_table(frame, "y")
        for frame in (
            pl.DataFrame(cells),
            pl.LazyFrame(cells),
            pa.table(cells),
            pd.DataFrame(cells),
            pd.DataFrame(cells).astype({"c": "category"}),
        )
    ]
    for table in tables[1:]:
        assert table.contract == tables[0].contract
        assert table.frame.cast(pl.String).equals(tables[0].frame.cast(pl.String))


def test_odd_frame_columns_are_named_and_left_out() -> None:
    frame = pl.DataFrame(frame_rows()).with_columns(pl.Series("nested", [[1, 2]] * 60))
    profile = {p.name: p for p in read_table(frame, "y").profiles}["nested"]
    assert not profile.used
    assert "List" in str(profile.why_not)


def test_infinite_numbers_are_blanks_and_unusable_objects_are_refused() -> None:
    cells = frame_rows() | {"x": [float("inf"), *range(1, 60)]}
    assert read_table(pl.DataFrame(cells, strict=False), "y").frame["x"].null_count() == 1
    with pytest.raises(InputError, match="cannot read a table from int"):
        read_table(5, "y")


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        ([0, 1], "binary", (0, 1)),
        (["no", "yes"], "binary", ("no", "yes")),
        ([True, False], "binary", (False, True)),
        ([1, 2, 3], "multiclass", (1, 2, 3)),
        (["c", "b", "a"], "multiclass", ("a", "b", "c")),
        ([i / 7 for i in range(60)], "regression", ()),
        (list(range(60)), "regression", ()),
    ],
)
def test_the_task_follows_from_the_target(values: list, task: str, classes: tuple) -> None:
    target = [values[i % len(values)] for i in range(60)]
    table = read_table(pl.DataFrame({"x": np.arange(60.0) ** 2, "y": target}), "y")
    assert (table.task, table.classes) == (task, classes)
    assert [type(value) for value in table.classes] == [type(value) for value in classes]


def test_the_contract_knows_the_training_rows_only() -> None:
    table = read_table(DATA / "adult.csv", "income")
    age = table.contract.columns[0]
    training = table.training.frame["age"]
    assert (age.minimum, age.maximum) == (training.min(), training.max())
    assert sum(table.contract.columns[1].categories.values()) == len(
        table.training.frame["workclass"].drop_nulls()
    )
    assert table.contract.rows == len(table.training) == 39_074


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=400))
def test_any_bytes_are_a_table_or_an_input_error(tmp_path: Path, content: bytes) -> None:
    with contextlib.suppress(InputError):
        read_table(csv(tmp_path, content), "y")


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cells=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=8),
        min_size=3,
        max_size=6,
        unique=True,
    )
)
def test_what_is_written_is_read(tmp_path: Path, cells: list[str]) -> None:
    column_of = [cells[i % len(cells)] for i in range(60)]
    frame = pl.DataFrame({"c": column_of, "x": np.arange(60) * 0.7, "y": ["a", "b"] * 30})
    frame.write_csv(tmp_path / "t.csv", quote_style="always")
    table = read_table(tmp_path / "t.csv", "y")
    if kinds(table)["c"] == "category":
        known = [cell for cell in column(table, "c") if cell is not None]
        assert set(known) <= {cell.strip(WHITE_SPACE) for cell in cells}


def test_two_hundred_megabytes_train_within_two_gigabytes(tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    random = np.random.default_rng(0)
    block = pl.DataFrame(
        {f"x{i}": random.normal(size=100_000).round(5) for i in range(8)}
        | {f"c{i}": random.choice([f"level {k}" for k in range(30)], 100_000) for i in range(4)}
    ).with_columns(
        pl.when(pl.col("x0") > 0.3).then(pl.lit("yes")).otherwise(pl.lit("no")).alias("y")
    )
    with file.open("wb") as out:
        block.write_csv(out)
        while out.tell() < 200e6:
            block.write_csv(out, include_header=False)
    program = f"""
import resource, sys
sys.argv = ["roadworthy", "launch", {str(file)!r}, "--target", "y", "--budget", "20s",
            "--no-serve", "--quiet", "--out", {str(tmp_path / "b")!r}]
from roadworthy.cli import main
try:
    main()
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    known = {**os.environ, "ROADWORTHY_GUARD_ACKNOWLEDGE": '["leakage"]'}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=known)
    assert run.returncode == 0, run.stderr
    peak = int(run.stdout.rsplit("peak", 1)[1]) * 1024  # Linux counts kilobytes
    assert peak < 2e9


def test_a_pandas_frame_is_read_the_same_where_pyarrow_is_absent() -> None:
    frame = pd.DataFrame(
        {
            "text": ["a", None, "é"],
            "number": [1.5, np.nan, -2.0],
            "whole": [1, 2, 3],
            "small": np.array([1, 2, 3], dtype="int8"),
            "yes": [True, False, True],
            "maybe": pd.array([1, None, 3], dtype="Int64"),
            "perhaps": pd.array([True, None, False], dtype="boolean"),
            "level": pd.Categorical(["u", "v", None]),
            "day": pd.to_datetime(["2026-01-02 00:00:00", None, "2026-03-04 05:06:07"]),
        }
    )
    alone, usual = from_pandas_alone(frame), pl.from_pandas(frame, nan_to_null=True)
    assert alone.columns == usual.columns
    for name in alone.columns:
        assert alone[name].to_list() == usual[name].to_list()
    assert from_pandas_alone(frame.head(0)).columns == usual.columns


def test_a_file_whose_name_is_no_utf8_is_read(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [i * 37 % 11 for i in range(60)], "y": [i % 5 for i in range(60)]})
    for suffix, write in ((".csv", frame.write_csv), (".parquet", frame.write_parquet)):
        name = Path(os.fsdecode(os.fsencode(tmp_path) + b"/gr\xf6\xdfe" + suffix.encode()))
        with name.open("wb") as file:
            write(file)
        table = read_table(name, "y")
        assert len(table) == 60
        assert "\ufffd" in table.source


def words_table(**columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"a": [n % 7 for n in range(300)], **columns})


def test_numbers_with_a_word_behind_them_are_told(tmp_path: Path) -> None:
    weights = [f"{n / 4} kg" for n in range(300)]
    table = words_table(weight=weights, y=["p", "q", "q"] * 100)
    table.to_csv(tmp_path / "t.csv", index=False)
    notes = read_table(tmp_path / "t.csv", "y").notes
    assert any("'weight'" in note and "'kg'" in note for note in notes)
    assert not any("'y'" in note for note in notes)
    words_table(y=weights).to_csv(tmp_path / "u.csv", index=False)
    with pytest.raises(InputError, match="take the word 'kg' away"):
        read_table(tmp_path / "u.csv", "y")


def test_a_target_of_dates_and_a_header_among_the_rows_are_told(tmp_path: Path) -> None:
    days = pd.date_range("2020-01-01", periods=300).strftime("%Y-%m-%d")
    words_table(y=list(days)).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match="dates are not predicted"):
        read_table(tmp_path / "t.csv", "y")
    lines = ["a,y", *(f"{n % 7},{'pq'[n % 2]}" for n in range(50))]
    (tmp_path / "u.csv").write_text("\n".join([*lines, *lines[:20]]))
    with pytest.raises(InputError, match="the header stands among the rows again"):
        read_table(tmp_path / "u.csv", "y")
