"""Counts: exact, the same in any order, and never twice."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.bundle.manifest import to_json
from roadworthy.bundle.reference import make_reference, noticed_in
from roadworthy.observe import Counts, Window, WindowStore, counting, read_reference
from roadworthy.observe.counting import RowCounter
from roadworthy.observe.counts import Packed, sketch_of, unpack
from roadworthy.observe.layout import GROUPS
from roadworthy.observe.recording import Recorder
from roadworthy.observe.reference import learn_reference, read_cells, write_cells
from roadworthy.prepare.columns import encode_columns
from roadworthy.prepare.rows import BLANK, UNSEEN
from tests.conftest import Trained

cells = st.lists(st.integers(0, 2**50), min_size=6, max_size=6)
counts = st.builds(
    lambda numbers, registers: Counts(
        np.array(numbers, dtype=np.int64), np.array(registers * 256, dtype=np.uint8)
    ),
    cells,
    st.lists(st.integers(0, 55), min_size=4, max_size=4),
)


def same(one: Counts, two: Counts) -> bool:
    return (one.cells == two.cells).all() and (one.sketch == two.sketch).all()


@given(counts, counts, counts)
@settings(max_examples=50, deadline=None)
def test_counts_merge_in_any_order(one: Counts, two: Counts, three: Counts) -> None:
    assert same(one.merged(two), two.merged(one))
    assert same(one.merged(two).merged(three), one.merged(two.merged(three)))
    assert same(one.merged(Counts.empty(6)), one)


@given(counts)
@settings(max_examples=50, deadline=None)
def test_counts_come_back_from_a_file_as_they_were(one: Counts) -> None:
    assert same(unpack(one.packed()), one)


@given(st.lists(st.integers(0, 3) | st.integers(0, 10**9), max_size=40))
@settings(max_examples=100, deadline=None)
def test_counts_come_back_from_text_as_they_were(numbers: list[int]) -> None:
    found = read_cells(write_cells(np.array(numbers, dtype=np.int64)), len(numbers))
    assert found.tolist() == numbers


@pytest.mark.parametrize("text", ["9: 1", "0: -1", "x", "-3: 1", "0: 99999999999999999999"])
def test_text_that_holds_no_counts_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_cells(text, 3)


def test_damaged_counts_are_refused() -> None:
    good = Counts.empty(3).packed()
    for bad in (Packed(4, good.cells, good.sketch), Packed(3, b"no", good.sketch)):
        with pytest.raises(ValueError, match=r"."):
            unpack(bad)


@pytest.mark.parametrize("distinct", [10, 700, 5000, 60_000])
def test_the_sketch_tells_how_many_rows_are_distinct(distinct: int) -> None:
    values = np.random.default_rng(distinct).normal(size=(distinct, 3))
    twice = np.vstack([values, values])
    found = Counts(np.zeros(1, np.int64), sketch_of(twice)).distinct()
    assert found == pytest.approx(distinct, rel=0.12)


@pytest.mark.parametrize("name", ["binary", "multiclass", "regression", "linear"])
def test_a_reference_counts_every_cell_of_the_table_once(
    bundles: dict[str, Trained], name: str
) -> None:
    trained = bundles[name]
    reference = trained.bundle.reference
    assert reference is not None
    found = reference.cells
    rows = len(trained.table)
    assert found[0] == rows
    assert found[1] == len(trained.table.holdout)
    frame = trained.table.frame
    for column, block in zip(reference.columns, reference.layout.blocks, strict=True):
        assert found[block.start : block.blank + 1].sum() == rows
        assert found[block.blank] == frame[column.name].null_count()
        if column.shape == "number":
            inside = found[block.start + column.inner[0] : block.start + column.inner[1]]
            assert inside.sum() >= rows - found[block.blank] - rows * 0.01
    tables = reference.layout.pair_tables(found)
    assert (tables.sum(axis=(1, 2)) == rows).all()
    assert reference.layout.score_table(found).sum() == found[1]


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 1000])
def test_pairs_are_counted_as_one_row_after_the_other(
    bundles: dict[str, Trained], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundles["binary"].bundle
    assert bundle.reference is not None
    layout = bundle.reference.layout
    counter = RowCounter(bundle.contract, bundle.plan, layout)
    groups = np.random.default_rng(rows).integers(0, GROUPS, (len(layout.columns), rows))
    wanted = np.zeros((len(layout.pairs), GROUPS, GROUPS), dtype=np.int64)
    for table, (first, second) in zip(wanted, layout.pairs, strict=True):
        np.add.at(table, (groups[first], groups[second]), 1)
    monkeypatch.setattr(counting, "_ROWS", 128)  # several parts
    cells = np.zeros(layout.size, dtype=np.int64)
    counter._count_pairs(groups, cells, counting.go_on)
    np.testing.assert_array_equal(layout.pair_tables(cells).reshape(wanted.shape), wanted)
    assert cells.sum() == wanted.sum()


def test_levels_are_counted_by_name(bundles: dict[str, Trained]) -> None:
    trained = bundles["binary"]
    reference = trained.bundle.reference
    for place, column in enumerate(reference.columns):
        if column.shape != "level":
            continue
        block = reference.layout.blocks[place]
        wanted = dict(trained.table.frame[column.name].drop_nulls().value_counts().iter_rows())
        found = reference.cells[block.start : block.blank].tolist()
        assert dict(zip(column.levels, found, strict=False)) == {
            level: wanted.get(level, 0) for level in column.levels
        }


def test_the_same_model_has_the_same_reference_to_the_byte(bundles: dict[str, Trained]) -> None:
    trained = bundles["binary"]
    made = [to_json(make_reference(trained.model, trained.bundle.engine)) for _ in (1, 2)]
    assert made[0] == made[1]
    assert len(made[0]) < 2_000_000
    read_reference(made[0])


def test_a_table_with_a_time_keeps_its_days(bundles: dict[str, Trained]) -> None:
    trained = bundles["binary"]
    table, contract, plan = trained.table, trained.model.contract, trained.model.plan
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC).timestamp() * 1e6
    times = start + np.random.default_rng(0).integers(0, 20, len(table)) * 86_400e6
    matrix = encode_columns(table.frame, plan)
    noticed = noticed_in(table.frame, contract)
    reference = learn_reference(contract, plan, matrix, noticed, times=times)
    assert sorted(reference.day_cells)[0] == "2026-01-01"
    assert len(reference.day_cells) == 20
    total = sum(reference.day_cells.values())
    for block in reference.layout.blocks:
        assert (total[block.filled] == reference.cells[block.filled]).all()
        assert total[block.blank] == reference.cells[block.blank]


def recorder(trained: Trained, folder: Path, writer: str) -> Recorder:
    bundle = trained.bundle
    return Recorder(
        "m", bundle.version, bundle.contract, bundle.plan, bundle.reference, WindowStore(folder),
        writer,
    )  # fmt: skip


def total(folder: Path) -> Counts | None:
    found = None
    for _, its in WindowStore(folder).windows("m"):
        found = its if found is None else found.merged(its)
    return found


def rows_of(trained: Trained, rows: int) -> tuple[np.ndarray, np.ndarray, dict]:
    frame = trained.table.frame[:rows]
    frame = frame.with_columns(
        pl.when(pl.int_range(pl.len()) % 7 == 0).then(None).otherwise(pl.col("workclass"))
        .alias("workclass")
    )  # fmt: skip
    matrix = encode_columns(frame, trained.model.plan)
    scores = trained.bundle.engine.run_many(matrix)
    return matrix, scores, noticed_in(frame, trained.model.contract)


def by_row(noticed: dict, row: int) -> Sequence | None:
    return [note for note, rows in noticed.items() if row in set(rows.tolist())] or None


def test_rows_are_counted_alike_one_by_one_few_and_many(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["binary"]
    matrix, scores, noticed = rows_of(trained, 300)
    reference = trained.bundle.reference
    wanted = RowCounter(
        trained.model.contract, trained.model.plan, reference.layout
    ).count(matrix, noticed, scores)  # fmt: skip
    one = recorder(trained, tmp_path / "one", "a")
    for row in range(300):
        one.add(matrix[row].tolist(), scores[row].tolist(), by_row(noticed, row))
    one.close()
    few = recorder(trained, tmp_path / "few", "a")
    few.add_many(matrix, scores, noticed)
    few.close()
    many = recorder(trained, tmp_path / "many", "a")
    many.count_many(matrix, scores, noticed)
    many.close()
    for name in ("one", "few", "many"):
        assert same(total(tmp_path / name), wanted), name
        assert not list(tmp_path.glob(f"{name}/.rows/**/*.rows"))


def test_a_buffer_that_is_full_is_counted_and_nothing_is_lost(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["binary"]
    matrix, scores, _ = rows_of(trained, 2)
    one = recorder(trained, tmp_path, "a")
    row = matrix[0].tolist(), scores[0].tolist()
    for _ in range(10_000):
        one.add(*row, [(BLANK, 0), (UNSEEN, 1)])
    one.close()
    block = trained.bundle.reference.layout.blocks
    found = total(tmp_path).cells
    assert (found[0], found[block[0].blank], found[block[1].unseen]) == (10_000, 10_000, 10_000)


def test_rows_that_come_in_blocks_of_any_size_are_counted_as_they_came_one_by_one(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["binary"]
    matrix, scores, _ = rows_of(trained, 300)
    columns = len(trained.bundle.contract.columns)
    sizes = np.random.default_rng(0).integers(1, 900, 40).tolist()
    full: list[int] = []
    one, few = recorder(trained, tmp_path / "one", "a"), recorder(trained, tmp_path / "few", "a")
    few.on_full = lambda: full.append(1)
    for size in sizes:
        rows = np.arange(size) % 300
        # every cell of every third row is noticed: more than there is room for beside the rows
        noticed = {((BLANK, UNSEEN)[at % 2], at): np.arange(0, size, 3) for at in range(columns)}
        few.add_many(matrix[rows], scores[rows], noticed)
        for row in range(size):
            of_row = [*noticed] if row % 3 == 0 else None
            one.add(matrix[row % 300].tolist(), scores[row % 300].tolist(), of_row)
    one.close()
    few.close()
    assert total(tmp_path / "few").cells[0] == sum(sizes)
    assert same(total(tmp_path / "few"), total(tmp_path / "one"))
    assert len(full) >= sum(sizes) // 4096


def test_what_a_killed_writer_left_is_counted_once_and_only_once(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["binary"]
    program = """
import os, sys
from roadworthy.bundle import Bundle
from roadworthy.observe import WindowStore
from roadworthy.observe.recording import Recorder, writer_name
bundle = Bundle(sys.argv[1])
one = Recorder("m", bundle.version, bundle.contract, bundle.plan, bundle.reference,
               WindowStore(sys.argv[2]), writer_name())
vector = [0.0] * bundle.plan.width
for count in range(6000):
    one.add(vector, [0.5, 0.5], None)
    if count == 1000:
        one.swap()
        one.drain()
    print(count + 1, flush=True)
os.kill(os.getpid(), 9)
"""
    command = [sys.executable, "-c", program, str(trained.bundle.path), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == -signal.SIGKILL
    assert run.stdout.split()[-1] == "6000"
    before = total(tmp_path)
    assert before is not None
    assert before.cells[0] < 6000
    heirs = [recorder(trained, tmp_path, f"heir{number}") for number in (1, 2)]
    recovered = sum(heir.recover() for heir in heirs)
    assert before.cells[0] + recovered == 6000
    for heir in heirs:
        assert heir.recover() == 0
        heir.close()
    assert total(tmp_path).cells[0] == 6000


def test_a_writer_killed_between_writing_and_saying_so_is_not_counted_twice(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["binary"]
    matrix, scores, _ = rows_of(trained, 5)
    one = recorder(trained, tmp_path, "dead")
    for row in range(5):
        one.add(matrix[row].tolist(), scores[row].tolist(), None)
    kept = Path(one._file.name).read_bytes()
    one.swap()
    one.drain()
    place = Path(one._file.name)
    one.close()
    place.write_bytes(kept)  # the filling is still there, and its window too
    heir = recorder(trained, tmp_path, "heir")
    assert heir.recover() == 0
    assert not place.exists()
    heir.close()
    assert total(tmp_path).cells[0] == 5


def test_a_living_writer_is_left_alone(bundles: dict[str, Trained], tmp_path: Path) -> None:
    trained = bundles["binary"]
    matrix, scores, _ = rows_of(trained, 1)
    program = f"""
import fcntl, sys
file = open(sys.argv[1], "r+b")
try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("locked {os.getpid()}")
"""
    one = recorder(trained, tmp_path, "alive")
    one.add(matrix[0].tolist(), scores[0].tolist(), None)
    command = [sys.executable, "-c", program, one._file.name]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("locked")
    other = recorder(trained, tmp_path, "other")
    assert other.recover() == 0
    other.close()
    one.close()
    assert total(tmp_path).cells[0] == 1


def test_a_clock_that_goes_back_counts_into_the_hour_it_shows(
    bundles: dict[str, Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = bundles["binary"]
    matrix, scores, _ = rows_of(trained, 1)
    one = recorder(trained, tmp_path, "a")
    now = [1_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0] * 3600)
    one.swap()
    for hour in (1_000_000, 1_000_001, 1_000_000, 10, 1_000_001):
        now[0] = hour
        one._begin(one._halves[one._turn])
        one.add(matrix[0].tolist(), scores[0].tolist(), None)
        one.swap()
        one.drain()
    one.close()
    found = {window.hour: int(its.cells[0]) for window, its in WindowStore(tmp_path).windows("m")}
    assert found == {10: 1, 1_000_000: 2, 1_000_001: 2}


def test_a_store_that_is_gone_or_full_stops_nothing_and_loses_nothing(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["binary"]
    matrix, scores, _ = rows_of(trained, 1)
    (tmp_path / "store").write_text("a file stands where the folder should be")
    one = recorder(trained, tmp_path / "store", "a")
    for _ in range(3):
        one.add(matrix[0].tolist(), scores[0].tolist(), None)
        one.swap()
        one.drain()
        assert one.unwritten
    (tmp_path / "store").unlink()
    one.add(matrix[0].tolist(), scores[0].tolist(), None)
    one.close()
    assert one.unwritten is None
    assert total(tmp_path / "store").cells[0] == 4


def test_a_damaged_window_is_told_of_and_the_others_are_read(tmp_path: Path) -> None:
    store = WindowStore(tmp_path)
    for hour in (1, 2):
        store.write(
            Window(model="m", version="v" * 64, hour=hour, writer="w", generation=1,
                   counts=Counts.empty(3).packed())
        )  # fmt: skip
    path = store.path("m", "v" * 64, 1, "w")
    path.write_bytes(path.read_bytes()[:-9])
    assert [window.hour for window, _ in store.windows("m")] == [2]
    assert store.damaged == [path]
    assert store.models() == ["m"]
    assert list(WindowStore(tmp_path / "nothing").windows("m")) == []


def test_a_reference_of_another_format_is_refused(bundles: dict[str, Trained]) -> None:
    good = msgspec.json.decode(to_json(bundles["binary"].bundle.reference))
    with pytest.raises(ValueError, match="format 9"):
        read_reference(msgspec.json.encode({**good, "format": 9}))
