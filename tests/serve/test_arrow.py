"""Arrow in and out: whatever the layout of its buffers, the rows mean what JSON's rows mean."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.serve.arrow_answers import encode_arrow, wants_arrow
from roadworthy.serve.bodies import BodyReader
from roadworthy.serve.formats import read_body
from roadworthy.serve.predictions import Predictor
from roadworthy.serve.problems import RequestProblem
from roadworthy.target import Interval
from tests.conftest import Server, Trained
from tests.serve.test_bad_input import ROW
from tests.serve.test_decided_answers import decided
from tests.serve.test_formats import JSON, PARQUET, STREAM, as_parquet, as_stream, outcome, table

NUMBERS = (
    pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(),
    pa.uint64(), pa.float16(), pa.float32(), pa.float64(),
)  # fmt: skip
TEXTS = (
    pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.uint32(), pa.large_string()),
)  # fmt: skip
TIMES = (
    pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ms", "UTC"),
    pa.timestamp("us", "Asia/Tokyo"), pa.timestamp("ns", "+02:00"),
    pa.timestamp("s", "Mars/Olympus"),
)  # fmt: skip
"""A zone is how a moment is to be shown, not which it is."""
MANY = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def array(cells: list[object], kind: pa.DataType) -> pa.Array:
    """An array of a kind; pyarrow makes no dictionaries of large texts by itself."""
    if pa.types.is_timestamp(kind):
        return pa.array(cells, pa.timestamp(kind.unit)).cast(kind)
    if pa.types.is_dictionary(kind):
        values = pa.array(cells, kind.value_type).dictionary_encode()
        return pa.DictionaryArray.from_arrays(
            values.indices.cast(kind.index_type), values.dictionary
        )
    return pa.array(cells, kind)


@MANY
@given(data=st.data(), name=st.sampled_from(["binary", "multiclass", "regression"]))
def test_every_layout_of_a_column_means_what_its_rows_mean(
    bundles: dict[str, Trained], data: st.DataObject, name: str
) -> None:
    bundle = bundles[name].bundle
    reader = BodyReader(bundle, 100, 1000)
    count = data.draw(st.integers(1, 6))
    rows = [dict(bundle.golden[0].row) for _ in range(count)]
    columns: dict[str, pa.Array] = {}
    before = data.draw(st.integers(0, 9))  # a slice: its buffers begin with what is not its own
    for column in bundle.contract.columns:
        cells: list[object] = [row[column.name] for row in rows]
        kind = None
        if column.kind == "number" and data.draw(st.booleans()):
            kind = data.draw(st.sampled_from(NUMBERS))
            cells = data.draw(
                st.lists(st.integers(0, 100) | st.none(), min_size=count, max_size=count)
            )
        elif column.kind == "category" and column.dtype == "string":
            kind = data.draw(st.sampled_from(TEXTS))
            levels = st.sampled_from([*column.levels()[:9], None, "", "?", "never seen", " x "])
            cells = data.draw(st.lists(levels, min_size=count, max_size=count))
        elif column.kind == "date":
            kind = data.draw(st.sampled_from(TIMES))
            days = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)).map(
                lambda moment: moment.replace(hour=0, minute=0, second=0, microsecond=0)
            )
            cells = data.draw(st.lists(days | st.none(), min_size=count, max_size=count))
        for row, cell in zip(rows, cells, strict=True):
            row[column.name] = cell.isoformat() if isinstance(cell, datetime) else cell
        padded = [cells[0]] * before + cells + [cells[-1]]
        columns[column.name] = (array(padded, kind) if kind else pa.array(padded))[before:-1]
    arrow = pa.table(columns)
    if count > 1 and data.draw(st.booleans()):  # batches with dictionaries of their own
        arrow = pa.concat_tables([arrow[:1], arrow[1:]])
    wanted = outcome(reader, JSON, json.dumps(rows).encode())
    np.testing.assert_equal(outcome(reader, STREAM, as_stream(arrow.unify_dictionaries())), wanted)
    unwritten = (pa.string_view(), pa.timestamp("s", "Mars/Olympus"))  # Parquet has no such thing
    if not any(field.type in unwritten for field in arrow.schema):
        np.testing.assert_equal(outcome(reader, PARQUET, as_parquet(arrow)), wanted)


def answers_of(content: bytes) -> list[dict]:
    """What an Arrow stream answers, as JSON answers it."""
    rows = pa.ipc.open_stream(content).read_all().to_pylist()
    for row in rows:
        if "interval" in row:
            row["interval"] = [row["interval"]["low"], row["interval"]["high"]]
    return rows


@pytest.mark.parametrize("name", ["binary", "multiclass", "regression", "interval"])
def test_an_arrow_answer_holds_what_the_json_answer_holds(
    bundles: dict[str, Trained], tmp_path: Path, name: str
) -> None:
    trained = bundles["regression" if name == "interval" else name]
    bundle = trained.bundle
    if name == "interval":
        bundle = decided(trained, tmp_path, interval=Interval(level=0.9, low=-1.0, high=1.0))
    predictor = Predictor(bundle, 100)
    rows = [golden.row for golden in bundle.golden]

    async def both() -> tuple[bytes, bytes]:
        encoded = (await predictor.reader.json(json.dumps(rows).encode())).encoded
        batch = await predictor.batch(encoded, "an-id")
        return predictor.encode(batch, "an-id"), await encode_arrow(predictor, batch, "an-id")

    as_json, as_arrow = asyncio.run(both())
    wanted = json.loads(as_json)
    assert answers_of(as_arrow) == wanted["predictions"]
    about = pa.ipc.open_stream(as_arrow).schema.metadata
    assert about[b"model"].decode() == wanted["model"]
    assert about[b"version"].decode() == wanted["version"]
    assert about[b"request_id"] == b"an-id"
    assert json.loads(about[b"warnings"]) == wanted["warnings"]


@pytest.mark.parametrize("classes", [(0, 1), (False, True), (0.5, 2), ("no", 1), (-3, 2**53)])
def test_classes_of_any_kind_stand_in_an_arrow_answer(
    bundles: dict[str, Trained], classes: tuple[object, ...]
) -> None:
    predictor = Predictor(bundles["binary"].bundle, 100)
    predictor.target = msgspec.structs.replace(predictor.target, classes=classes)
    predictor._classes = classes
    rows = [golden.row for golden in predictor.bundle.golden]

    async def ask() -> tuple[bytes, list]:
        encoded = (await predictor.reader.json(json.dumps(rows).encode())).encoded
        batch = await predictor.batch(encoded, "id")
        return await encode_arrow(predictor, batch, "id"), predictor.predictions(batch)

    content, wanted = asyncio.run(ask())
    given = [answer["prediction"] for answer in answers_of(content)]
    assert len(set(wanted)) == 2
    assert given == ([str(one) for one in wanted] if "no" in classes else wanted)


def test_a_caller_gets_arrow_by_asking_for_it_first(server: Server) -> None:
    rows = [ROW, {**ROW, "age": None}]
    wanted = server.predict(rows)[1]
    one = server.predict(ROW)[1]
    body, stream = json.dumps(rows).encode(), as_stream(table(rows))
    for media, content in ((JSON, body), (STREAM, stream)):
        status, headers, given = server.request(
            "POST", "/predict", content, Content_Type=media, Accept=f"{STREAM}, {JSON};q=0.5"
        )
        assert (status, headers["content-type"]) == (200, STREAM)
        assert answers_of(given) == wanted["predictions"]
        about = pa.ipc.open_stream(given).schema.metadata
        assert json.loads(about[b"warnings"]) == wanted["warnings"]
    single = server.request(
        "POST", "/predict", json.dumps(ROW).encode(), Content_Type=JSON, Accept=STREAM
    )[2]
    assert answers_of(single)[0]["probabilities"] == pytest.approx(one["probabilities"], rel=1e-12)
    refused = server.request("POST", "/predict", b"{", Content_Type=JSON, Accept=STREAM)
    assert refused[0] == 400
    assert refused[1]["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (STREAM, True), (STREAM.upper(), True), (f"text/csv, {STREAM}", True),
        (f"{STREAM};q=0.9, */*;q=0.1", True), (f"{JSON}, {STREAM}", False),
        (f"*/*, {STREAM}", False), (JSON, False), ("*/*", False), ("", False), (None, False),
        (STREAM + "s", False), (",,;", False),
    ],
)  # fmt: skip
def test_arrow_is_answered_where_it_is_listed_before_json(accept: str | None, wanted: bool) -> None:
    assert wants_arrow(accept) is wanted


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
@pytest.mark.parametrize("tick", [2**62, -(2**62), 2**63 - 1, 253_402_300_800 * 10**6])
def test_a_moment_beyond_the_calendar_is_refused_and_never_wraps_around(
    bundles: dict[str, Trained], unit: str, tick: int
) -> None:
    bundle = bundles["regression"].bundle
    rows = pa.Table.from_pylist([bundle.golden[0].row] * 2)
    ticks = pa.array([None, tick], pa.int64()).cast(pa.timestamp(unit))
    place = rows.schema.get_field_index("arrival_date")
    body = as_stream(rows.set_column(place, "arrival_date", ticks))
    with pytest.raises(RequestProblem, match=r"row 1, column 'arrival_date': is a date outside"):
        asyncio.run(read_body(BodyReader(bundle, 100, 1000), body, STREAM, 10**6))


def test_arrow_in_and_out_leaves_pandas_alone(bundles: dict[str, Trained], tmp_path: Path) -> None:
    assert importlib.util.find_spec("pandas")  # else this would show nothing
    rows = [ROW, {**ROW, "age": None, "sex": None}]
    (tmp_path / "rows.arrow").write_bytes(as_stream(table(rows)))
    (tmp_path / "rows.parquet").write_bytes(as_parquet(table(rows)))
    moments = pa.array([1, 2], pa.timestamp("ns", "Asia/Tokyo"))
    odd = [
        moments, moments.dictionary_encode(), pa.array([1, 2], pa.duration("ns")),
        pa.array([[1], [2]]), pa.array([{"a": 1}, {"a": 2}]), pa.array([b"1", b"2"]),
        pa.array([(1, 2, 3)] * 2, pa.month_day_nano_interval()), pa.array([1, 2], pa.time64("ns")),
        pa.array([[one] for one in (1, 2)], pa.list_(pa.timestamp("ns"))),
    ]  # fmt: skip
    whole = table(rows)
    for number, cells in enumerate(odd):
        body = as_stream(whole.set_column(whole.schema.get_field_index("age"), "age", cells))
        (tmp_path / f"odd{number}").write_bytes(body)
    program = f"""
import asyncio, pathlib, sys
from roadworthy.bundle import Bundle
from roadworthy.serve.arrow_answers import encode_arrow
from roadworthy.serve.formats import read_body
from roadworthy.serve.predictions import Predictor
from roadworthy.serve.problems import RequestProblem

async def main():
    predictor = Predictor(Bundle({str(bundles["binary"].bundle.path)!r}), 100)
    for name, media in (("rows.arrow", {STREAM!r}), ("rows.parquet", {PARQUET!r})):
        body = pathlib.Path({str(tmp_path)!r}, name).read_bytes()
        encoded = (await read_body(predictor.reader, body, media, 10**6)).encoded
        batch = await predictor.batch(encoded, "id")
        assert len(batch.warnings) == 2, batch.warnings
        assert await encode_arrow(predictor, batch, "id")
    for body in pathlib.Path({str(tmp_path)!r}).glob("odd*"):
        try:
            await read_body(predictor.reader, body.read_bytes(), {STREAM!r}, 10**6)
        except RequestProblem as problem:
            assert "column 'age': expected a number" in problem.detail, problem.detail
        else:
            raise AssertionError(body)
    print([name for name in sys.modules if name.partition(".")[0] == "pandas"])

asyncio.run(main())
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (run.stdout, run.stderr) == ("[]\n", "")
