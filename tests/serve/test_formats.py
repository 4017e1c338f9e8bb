"""Bodies of every format: the same rows, the same answers; whatever is wrong is told."""

from __future__ import annotations

import asyncio
import csv
import io
import json

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.bundle import Bundle
from roadworthy.cells import CellError, NumberFormat
from roadworthy.serve.bodies import BodyReader
from roadworthy.serve.columns import ColumnEncoder, ColumnProblems, Encoded, too_long
from roadworthy.serve.formats import read_body
from roadworthy.serve.predictions import Predictor
from roadworthy.serve.problems import RequestProblem
from tests.conftest import Server, Trained
from tests.serve.test_bad_input import ROW, check_problem

ROWS = [
    ROW, {**ROW, "workclass": None, "age": 200}, {**ROW, "sex": "unheard of"},
    {**ROW, "age": None, "capital-gain": 0.5},
]  # fmt: skip
JSON, CSV, LINES = "application/json", "text/csv", "application/x-ndjson"
STREAM, FILE = "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file"
PARQUET = "application/vnd.apache.parquet"


def as_csv(rows: list[dict], **options: str) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), **options)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def table(rows: list[dict]) -> pa.Table:
    return pa.table({name: [row[name] for row in rows] for name in rows[0]})


def as_stream(arrow: pa.Table, **options: str) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, arrow.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(arrow)
    return out.getvalue()


def as_file(arrow: pa.Table) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_file(out, arrow.schema) as writer:
        writer.write_table(arrow)
    return out.getvalue()


def as_parquet(arrow: pa.Table, **options: str) -> bytes:
    out = io.BytesIO()
    pq.write_table(arrow, out, **options)
    return out.getvalue()


def as_columns(rows: list[dict]) -> bytes:
    return json.dumps({name: [row[name] for row in rows] for name in rows[0]}).encode()


def coded(arrow: pa.Table) -> pa.Table:
    for place, field in enumerate(arrow.schema):
        if pa.types.is_string(field.type):
            arrow = arrow.set_column(place, field.name, arrow[place].dictionary_encode())
    return arrow


BODIES = {
    "columns": (JSON, as_columns(ROWS)),
    "JSON lines": (LINES, "\n".join(map(json.dumps, ROWS)).encode()),
    "JSON lines with empty ones": (LINES, "\r\n\n".join(map(json.dumps, ROWS)).encode() + b"\n\n"),
    "CSV": (CSV, as_csv(ROWS)),
    "CSV with a mark of Excel": (CSV + "; charset=utf-8", b"\xef\xbb\xbf" + as_csv(ROWS)),
    "CSV with Unix lines": (CSV, as_csv(ROWS).replace(b"\r\n", b"\n")),
    "CSV, all quoted": (CSV, as_csv(ROWS, quoting=csv.QUOTE_ALL)),
    "CSV with semicolons": (CSV, as_csv(ROWS, delimiter=";")),
    "CSV with tabs": (CSV, as_csv(ROWS, delimiter="\t")),
    "CSV with bars, without a header": (
        CSV + "; header=absent", as_csv(ROWS, delimiter="|").partition(b"\r\n")[2],
    ),
    "CSV without a header": (CSV + "; header=absent", as_csv(ROWS).partition(b"\r\n")[2]),
    "an Arrow stream": (STREAM, as_stream(table(ROWS))),
    "an Arrow stream of many batches": (
        STREAM, as_stream(pa.Table.from_batches(table(ROWS).to_batches(max_chunksize=1))),
    ),
    "an Arrow file": (FILE, as_file(table(ROWS))),
    "Arrow with coded texts": (STREAM, as_stream(coded(table(ROWS)))),
    "a Polars frame": (FILE, pl.DataFrame(ROWS).write_ipc(None).getvalue()),
    "Parquet": (PARQUET, as_parquet(table(ROWS))),
    "compressed Parquet": (PARQUET, as_parquet(table(ROWS), compression="zstd")),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_every_format_gets_the_answers_of_json(server: Server, name: str) -> None:
    media, body = BODIES[name]
    wanted = server.predict(ROWS)[1]
    status, _, content = server.request("POST", "/predict", body, Content_Type=media)
    assert status == 200, content
    given = json.loads(content)
    assert given["predictions"] == wanted["predictions"]
    assert given["warnings"] == wanted["warnings"]


REFUSED: dict[str, tuple[str, bytes, int, str]] = {
    "empty CSV": (CSV, b"", 422, "no rows"),
    "a header alone": (CSV, as_csv(ROWS).partition(b"\r\n")[0] + b"\r\n", 422, "no rows"),
    "a short row": (CSV, as_csv(ROWS) + b"1,2\r\n", 422, "2 cells"),
    "a long row": (CSV, as_csv(ROWS) + b"1," * 20 + b"\r\n", 422, "cells"),
    "a quote that does not end": (CSV, as_csv(ROWS) + b'"abc', 400, "CSV"),
    "text behind a quote": (CSV, as_csv(ROWS) + b'"abc"d,1\r\n', 400, "CSV"),
    "CSV in Latin-1": (CSV, as_csv(ROWS).replace(b"White", b"Wei\xdf"), 400, "UTF-8"),
    "CSV in UTF-16": (CSV, as_csv(ROWS).decode().encode("utf-16"), 400, "UTF-8"),
    "a column twice": (CSV, b"age,age\r\n1,2\r\n", 400, "twice"),
    "a column misspelt": (CSV, as_csv(ROWS).replace(b"age,", b"aeg,", 1), 422, "absent"),
    "a text for a number": (CSV, as_csv([{**ROW, "age": "old"}]), 422, "expected a number"),
    "NaN of words": (CSV, as_csv([{**ROW, "age": "inf"}]), 422, "finite"),
    "1e999": (CSV, as_csv([{**ROW, "age": "1e999"}]), 422, "finite"),
    "an underscore": (CSV, as_csv([{**ROW, "age": "1_0"}]), 422, "finite"),
    "a NUL": (CSV, as_csv([{**ROW, "sex": "a\0b"}]), 422, "NUL"),
    "a huge cell": (CSV, as_csv([{**ROW, "sex": "a" * 120_000}]), 422, "longer"),
    "a cell beyond the parser": (CSV, as_csv([{**ROW, "sex": "a" * 200_000}]), 400, "CSV"),
    "too many lines": (CSV, b"age\r\n" + b"1\r\n" * 20_001, 413, "rows"),
    "JSON said to be CSV": (CSV, json.dumps(ROW).encode(), 422, "rows"),
    "broken lines": (LINES, json.dumps(ROW).encode() + b"\n{", 400, "JSON"),
    "a list in a line": (LINES, json.dumps(ROW).encode() + b"\n[]", 422, "object"),
    "two rows in a line": (LINES, json.dumps(ROW).encode() * 2, 400, "JSON"),
    "a comma between lines": (LINES, json.dumps(ROW).encode() + b",\n{}", 400, "JSON"),
    "a key twice in a line": (LINES, json.dumps(ROW)[:-1].encode() + b',"age":1}', 400, "twice"),
    "no lines": (LINES, b"\n\n", 422, "no rows"),
    "a wrong cell in a line": (LINES, json.dumps({**ROW, "age": "x"}).encode(), 422, "number"),
    "a long text": (JSON, json.dumps({**ROW, "sex": "a" * 120_000}).encode(), 422, "longer"),
    "a long text in columns": (
        JSON, as_columns([{**ROW, "sex": "a" * 120_000}]), 422, "longer",
    ),
    "a wrong cell in columns": (JSON, as_columns([ROW, {**ROW, "age": "x"}]), 422, "number"),
    "a list in columns": (JSON, as_columns([ROW, {**ROW, "sex": ["Male"]}]), 422, "text"),
    "an object in columns": (JSON, as_columns([{**ROW, "age": {"a": 1}}]), 422, "number"),
    "true in columns": (JSON, as_columns([{**ROW, "age": True}]), 422, "number"),
    "a large integer in columns": (JSON, as_columns([{**ROW, "age": 10**400}]), 422, "number"),
    "a column twice in columns": (
        JSON, as_columns(ROWS)[:-1] + b',"age":[1,2,3,4]}', 400, "twice",
    ),
    "no Arrow": (STREAM, b"age,sex", 400, "Arrow"),
    "empty Arrow": (STREAM, b"", 400, "Arrow"),
    "half of Arrow": (STREAM, as_stream(table(ROWS))[:900], 400, "Arrow"),
    "Arrow without rows": (STREAM, as_stream(table(ROWS)[:0]), 422, "no rows"),
    "an Arrow file without rows": (FILE, as_file(table(ROWS)[:0]), 422, "no rows"),
    "Arrow with too many rows": (STREAM, as_stream(pa.table({"age": range(20_001)})), 413, "rows"),
    "compressed Arrow": (STREAM, as_stream(table(ROWS), compression="zstd"), 415, "compressed"),
    "Arrow without a column": (STREAM, as_stream(table(ROWS).drop_columns(["age"])), 422, "absent"),
    "Arrow with texts for numbers": (STREAM, as_stream(
        table([{**ROW, "age": "old"}])), 422, "expected a number"),
    "Arrow with infinity": (
        STREAM, as_stream(table([{**ROW, "age": float("inf")}])), 422, "finite"),
    "Arrow with numbers for texts": (STREAM, as_stream(table([{**ROW, "sex": 1}])), 422, "text"),
    "Arrow with lists": (STREAM, as_stream(table([{**ROW, "sex": [1, 2]}])), 422, "text"),
    "Arrow with a name that is no text": (
        STREAM, as_stream(table(ROWS)).replace(b"sex", b"se\xff"), 400, "UTF-8"),
    "no Parquet": (PARQUET, b"PAR1 or not", 400, "Parquet"),
    "empty Parquet": (PARQUET, b"", 400, "Parquet"),
    "half of Parquet": (PARQUET, as_parquet(table(ROWS))[:900], 400, "Parquet"),
    "Parquet with too many rows": (
        PARQUET, as_parquet(pa.table({"age": range(20_001)})), 413, "rows"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_body_of_any_format_is_refused_with_its_reason(server: Server, name: str) -> None:
    media, body, expected, reason = REFUSED[name]
    answer = server.request("POST", "/predict", body, Content_Type=media)
    assert reason in json.dumps(check_problem(*answer, expected))


def test_the_rows_of_problems_are_counted_over_slices(server: Server) -> None:
    rows = [ROW] * 9000 + [{**ROW, "age": "x"}]
    for media, body in (
        (JSON, as_columns(rows)),
        (CSV, as_csv(rows)),
        (JSON, json.dumps(rows).encode()),
    ):
        status, _, content = server.request("POST", "/predict", body, Content_Type=media)
        assert status == 422
        assert json.loads(content)["errors"][0]["row"] == 9000


CELLS = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6)
    | st.sampled_from(["Male", " Male ", "?", "NA", "2020-01-31", "true", "1.0", "\0"])
    | st.lists(st.integers(), max_size=1)
)  # fmt: skip


def outcome(reader: BodyReader, media: str, body: bytes) -> object:
    """The matrix and what was noticed, or the problems."""
    try:
        encoded = asyncio.run(read_body(reader, body, media, 10**7)).encoded
    except RequestProblem as problem:
        return problem.status, sorted((p.row, p.column, p.reason) for p in problem.problems)
    return encoded.matrix.tolist(), {note: list(rows) for note, rows in encoded.noticed.items()}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), name=st.sampled_from(["binary", "multiclass", "regression"]))
def test_columns_mean_what_rows_mean(
    bundles: dict[str, Trained], data: st.DataObject, name: str
) -> None:
    bundle = bundles[name].bundle
    reader = BodyReader(bundle, 100, 1000)
    base = bundle.golden[0].row
    changed = data.draw(
        st.lists(
            st.dictionaries(st.sampled_from(sorted(base)), CELLS, max_size=3),
            min_size=1,
            max_size=5,
        )
    )
    rows = [{**base, **change} for change in changed]
    by_rows = outcome(reader, JSON, json.dumps(rows).encode())
    by_columns = outcome(reader, JSON, as_columns(rows))
    by_lines = outcome(reader, LINES, "\n".join(map(json.dumps, rows)).encode())
    np.testing.assert_equal(by_columns, by_rows)
    np.testing.assert_equal(by_lines, by_rows)


TEXTS = st.sampled_from(
    ["", "?", "NA", "nan", "null", "inf", "1e999", "-1e-400", "0", "-0", "+7", "07", "1.", ".5",
     " 12 ", "1_0", "1,5", "true", '"3"', "[4]", "9007199254740993", "1" * 40, "1" * 120, "\u0663",
     "12 %", "-% 3", "1.500,5"]
) | st.floats().map(str) | st.integers(-(2**70), 2**70).map(str)  # fmt: skip


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cells=st.lists(TEXTS, min_size=1, max_size=8),
    limit=st.sampled_from([100, 1000]),
    written=st.sampled_from([NumberFormat(), NumberFormat(unit="%"), NumberFormat(",", ".")]),
)
def test_texts_of_numbers_mean_together_what_they_mean_one_by_one(
    bundles: dict[str, Trained], cells: list[str], limit: int, written: NumberFormat
) -> None:
    bundle = bundles["regression"].bundle
    columns = list(bundle.contract.columns)
    place = next(place for place, one in enumerate(columns) if one.kind == "number")
    column = columns[place] = msgspec.structs.replace(columns[place], number_format=written)
    contract = msgspec.structs.replace(bundle.contract, columns=tuple(columns))
    encoder = ColumnEncoder(contract, bundle.plan)
    start = sum(len(encoder.features(before)) for before in range(place))
    wanted, wrong = [], []
    for row, cell in enumerate(cells):
        try:
            if len(cell) > limit:
                raise CellError(too_long(limit))
            value = column.read_text(cell, bundle.contract.blanks)
            wanted.append(encoder.features(place)[0].fill if value is None else value)
        except CellError as error:
            wrong.append((row, str(error)))

    def encode() -> Encoded:
        return encoder.encode({column.name: tuple(cells)}, len(cells), text=True, limit=limit)

    if wrong:
        with pytest.raises(ColumnProblems) as refused:
            encode()
        assert [(problem.row, problem.reason) for problem in refused.value.problems] == wrong
    else:
        np.testing.assert_array_equal(encode().matrix[:, start], wanted)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_key_that_stands_twice_is_found_whatever_else_the_rows_hold(
    bundles: dict[str, Trained], data: st.DataObject
) -> None:
    trained = bundles["binary"]
    absent = data.draw(st.sampled_from(["error", "blank"]))
    bundle = Bundle(trained.bundle.path, absent=absent)
    reader = BodyReader(bundle, 100, 1000)
    predictor = Predictor(bundle, 100)
    base = bundle.golden[0].row
    names = st.sampled_from(sorted(base))
    texts = []
    for _ in range(data.draw(st.integers(1, 3))):
        cells = data.draw(st.dictionaries(names, st.sampled_from([None, "?", "unheard of"])))
        row = base | {name: cell for name, cell in cells.items() if type(base[name]) is str}
        row |= {name: None for name in cells if type(base[name]) is not str}
        if absent == "blank":
            for name in data.draw(st.sets(names, max_size=2)):
                row.pop(name)
        texts.append(json.dumps(row))
    twice = data.draw(names)
    cell = data.draw(st.sampled_from([None, base[twice]]))
    texts[-1] = (
        f"{{{json.dumps(twice)}: {json.dumps(cell)}, {json.dumps(twice)}: null, " + (texts[-1][1:])
    )
    for body, media in ((f"[{','.join(texts)}]", JSON), ("\n".join(texts), LINES)):
        with pytest.raises(RequestProblem, match="twice"):
            asyncio.run(read_body(reader, body.encode(), media, 10**7))
    with pytest.raises(RequestProblem, match="twice"):
        predictor.one(texts[-1].encode(), "id")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), media=st.sampled_from([CSV, LINES, STREAM, FILE, PARQUET, JSON]))
def test_no_damaged_body_ends_in_anything_but_an_answer_or_a_problem(
    bundles: dict[str, Trained], data: st.DataObject, media: str
) -> None:
    reader = BodyReader(bundles["binary"].bundle, 100, 1000)
    whole = next(body for of, body in BODIES.values() if of == media)
    body = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body)))
        body[place : place + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    outcome(reader, media, bytes(body))
