"""Tables of which a sample alone is held: read by parts, and learned from as if all were held."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.errors import InputError
from roadworthy.project import Project
from roadworthy.table import Table, read_table
from roadworthy.table.parts import File
from roadworthy.table.sample import draw, rows_that_fit
from tests.registry.conftest import aws, moto_server

__all__ = ["aws", "moto_server"]


def made(rows: int, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    size = random.normal(10.0, 3.0, rows).round(3)
    days = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 12, 31), eager=True).sample(
        rows, with_replacement=True, seed=seed
    )
    return pl.DataFrame(
        {
            "size": pl.Series(size).set(pl.Series(random.random(rows) < 0.1), None),
            "count": random.integers(0, 90, rows),
            "colour": random.choice(["red", "green", " blue", "NA"], rows, p=[0.5, 0.3, 0.1, 0.1]),
            "day": days.cast(pl.Date),
            "shop": random.integers(0, 40, rows).astype(str),
            "old": random.choice(["yes", "no"], rows),
            "price": np.where(random.random(rows) < 0.03, np.nan, random.normal(2 * size)),
        }
    )  # fmt: skip


def written(frame: pl.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        frame.with_columns(pl.col("price").fill_nan(None)).write_csv(path)
    else:
        frame.write_parquet(path, row_group_size=97)
    return path


def read(path: Path | str, **data: Any) -> Table:
    return read_table(path, "price", project=Project().override("data", **data))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.integers(60, 400),
    cuts=st.lists(st.integers(0, 400), max_size=6),
    wanted=st.integers(1, 500),
    seed=st.integers(0, 9),
)
def test_a_draw_is_the_same_however_the_rows_are_cut_and_has_as_many_as_are_wanted(
    rows: int, cuts: list[int], wanted: int, seed: int
) -> None:
    frame = pl.DataFrame({"row": range(rows)})
    edges = [0, *sorted(min(cut, rows) for cut in cuts), rows]
    parts = [frame[a:b] for a, b in itertools.pairwise(edges)]
    found, whole = draw(iter(parts), wanted, seed), draw(iter([frame]), wanted, seed)
    assert found.frame.equals(whole.frame)
    assert found.total == rows
    assert found.frame["row"].to_list() == found.places.tolist()
    assert len(set(found.places.tolist())) == min(rows, wanted)


def test_every_row_is_as_likely_to_be_drawn() -> None:
    frame = pl.DataFrame({"row": range(50)})
    drawn = np.zeros(50)
    for seed in range(2000):
        drawn[draw([frame[:20], frame[20:]], 10, seed).places] += 1
    expected = 2000 * 10 / 50
    assert ((drawn - expected) ** 2 / expected).sum() < 100  # chi square, 49 degrees: p > 1e-5


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_that_is_read_whole_by_parts_gives_the_table_that_is_read_at_once(
    tmp_path: Path, kind: str
) -> None:
    path = written(made(700), tmp_path / f"t.{kind}")
    at_once, by_parts = read(path), read(path, sample_rows=700)
    assert by_parts.contract == at_once.contract
    assert by_parts.frame.equals(at_once.frame)
    assert (by_parts.labels == at_once.labels).all()
    assert by_parts.profiles == at_once.profiles
    assert by_parts.whole is None


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    "data", [{"split": "random"}, {"split": "time"}, {"split": "group", "group": "shop"}],
    ids=lambda data: data["split"],
)  # fmt: skip
def test_the_contract_is_that_of_all_rows_but_those_held_out(
    tmp_path: Path, kind: str, data: dict[str, Any]
) -> None:
    frame = made(3000, seed=3)
    path = written(frame, tmp_path / f"t.{kind}")
    table = read(path, sample_rows=1000, **data)
    assert table.whole is not None
    assert "1,000 of 3,000 rows were drawn" in " ".join(table.notes)
    held = pl.Series(np.isin(np.arange(3000), table.whole.held))
    assert 150 < held.sum() < 400
    if data["split"] == "time":
        held = frame["day"] >= frame["day"].filter(held).min()
    if data["split"] == "group":
        held = frame["shop"].is_in(frame["shop"].filter(held).unique().implode())
        assert not set(frame["shop"].filter(held)) & set(frame["shop"].filter(~held))
    learned = frame.filter(~held & frame["price"].is_not_nan())
    contract = table.contract
    assert contract.rows == learned.height
    columns = {column.name: column for column in contract.columns}
    shares = (0.05, 0.25, 0.5, 0.75, 0.95)
    for name in ("size", "count"):
        assert columns[name].minimum == learned[name].min()
        assert columns[name].maximum == learned[name].max()
        assert columns[name].blank_share == learned[name].null_count() / learned.height
        for share, quantile in zip(shares, columns[name].quantiles, strict=True):
            below = (learned[name].drop_nulls() <= quantile).mean()
            assert abs(below - share) < 0.06  # of a sample of a thousand
    levels = dict(learned["colour"].str.strip_chars().value_counts().iter_rows())
    blanks = levels.pop("NA")
    assert columns["colour"].categories == levels
    assert columns["colour"].blank_share == blanks / learned.height
    seconds = learned["day"].cast(pl.Datetime("us")).dt.timestamp("us") / 1e6
    assert (columns["day"].minimum, columns["day"].maximum) == (seconds.min(), seconds.max())


def test_rows_that_may_have_no_blank_are_left_out_of_the_whole_as_of_the_sample(
    tmp_path: Path,
) -> None:
    frame = made(2000)
    path = written(frame, tmp_path / "t.csv")
    project = Project().override("data", sample_rows=500, split="random")
    table = read_table(
        path, "price", project=project.override("prepare", number_impute="drop_rows")
    )
    assert table.whole is not None
    usable = frame.filter(frame["price"].is_not_nan() & frame["size"].is_not_null())
    assert table.contract.rows == usable.height - len(table.whole.held)
    size = next(column for column in table.contract.columns if column.name == "size")
    assert (size.blank_share, size.on_blank) == (0.0, "error")


def test_a_cell_that_the_drawn_rows_give_no_hint_of_is_told_with_its_row(tmp_path: Path) -> None:
    frame = made(3000).with_columns(pl.col("count").cast(pl.String))
    path = tmp_path / "t.csv"
    drawn = set(draw([pl.DataFrame({"row": range(3000)})], 200, 0).places.tolist())
    odd = next(row for row in range(2000, 3000) if row not in drawn)
    frame.with_row_index().with_columns(
        pl.when(pl.col("index") == odd).then(pl.lit("many")).otherwise("count").alias("count"),
        pl.col("price").fill_nan(None),
    ).drop("index").write_csv(path)
    with pytest.raises(InputError) as error:
        read(path, sample_rows=200)
    assert error.value.where == f"{path}, row {odd:,} (from 0), column 'count'"
    text = read(path, sample_rows=200, columns={"count": {"kind": "category"}})
    column = next(column for column in text.contract.columns if column.name == "count")
    assert column.categories["many"] == 1


def test_numbers_that_are_whole_in_the_drawn_rows_alone_are_no_integers(tmp_path: Path) -> None:
    frame = made(3000).with_columns(pl.col("count").cast(pl.Float64))
    drawn = set(draw([pl.DataFrame({"row": range(3000)})], 200, 0).places.tolist())
    odd = next(row for row in range(3000) if row not in drawn and frame["price"].is_not_nan()[row])
    frame[odd, "count"] = 0.5
    table = read(written(frame, tmp_path / "t.parquet"), sample_rows=200, split="random")
    assert next(c for c in table.contract.columns if c.name == "count").dtype == "number"


def test_what_does_not_fit_into_memory_is_drawn_from_without_being_asked(tmp_path: Path) -> None:
    path = written(pl.concat([made(25_000, seed) for seed in range(3)]), tmp_path / "t.parquet")
    file = File(path, str(path), Project().data)
    assert rows_that_fit(file, 1 << 40) is None
    assert rows_that_fit(file, 1 << 28) is None
    fitting = rows_that_fit(file, 40_000_000)
    assert fitting is not None
    assert 20_000 <= fitting < 75_000


_PEAK = """
import sys, threading
from pathlib import Path

def anonymous():
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0])

from roadworthy.project import Project
from roadworthy.table import read_table
import roadworthy.table.whole

peak, start, done = [0], anonymous(), threading.Event()
def watch():
    while not done.wait(0.002):
        peak[0] = max(peak[0], anonymous())
threading.Thread(target=watch, daemon=True).start()
project = Project().override("data", sample_rows=int(sys.argv[2]), split="random")
table = read_table(sys.argv[1], "c0", project=project)
done.set()
print(table.contract.rows, peak[0] - start)
"""


def peak(path: Path, rows: int) -> tuple[int, int]:
    """Rows that the contract is of, and the kilobytes that reading took."""
    command = [sys.executable, "-c", _PEAK, str(path), str(rows)]
    environment = {**os.environ, "POLARS_MAX_THREADS": "2"}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    learned, kilobytes = map(int, run.stdout.split())
    return learned, kilobytes


def test_memory_is_bounded_by_the_sample_and_not_by_the_file(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = pl.DataFrame({f"c{place}": random.normal(size=100_000) for place in range(20)})
    files = {times: tmp_path / f"{times}.parquet" for times in (5, 20)}
    for times, path in files.items():
        pl.concat([frame] * times).write_parquet(path, row_group_size=50_000)
    of_few, of_many = (peak(path, 5_000) for path in files.values())
    assert (of_few[0], of_many[0]) == (499_000, 1_999_000)
    # four times the rows take nothing like four times the memory; the cells alone are 320 MB
    assert of_many[1] < 2 * of_few[1]
    assert of_many[1] < 20 * 2_000_000 * 8 / 1024


def test_a_text_takes_less_memory_than_its_cells(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = pl.DataFrame({f"c{place}": random.normal(size=50_000) for place in range(10)})
    text = frame.write_csv(include_header=False).encode()
    with (tmp_path / "t.csv").open("wb") as file:
        file.write(",".join(frame.columns).encode() + b"\n")
        for _ in range(50):
            file.write(text)
    learned, kilobytes = peak(tmp_path / "t.csv", 5_000)
    assert learned == 2_499_000
    assert kilobytes < 50 * len(text) / 1024


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_in_a_bucket_is_read_as_one_on_this_machine(
    tmp_path: Path, aws: str, kind: str
) -> None:
    import boto3

    client = boto3.client("s3")
    location = {"LocationConstraint": "eu-central-1"}
    bucket = f"tables-{kind}"
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
    path = written(made(900), tmp_path / f"t.{kind}")
    client.put_object(Bucket=bucket, Key=f"in/t.{kind}", Body=path.read_bytes())
    for rows in (0, 300):
        here, there = (
            read(place, sample_rows=rows) for place in (path, f"s3://{bucket}/in/t.{kind}")
        )
        assert there.contract == here.contract
        assert there.frame.equals(here.frame)
        assert (there.name, there.source) == ("t", f"s3://{bucket}/in/t.{kind}")
    with pytest.raises(InputError, match="does not exist"):
        read(f"s3://{bucket}/absent.{kind}")
    with pytest.raises(InputError, match="unknown address ftp"):
        read("ftp://example.org/t.csv")
