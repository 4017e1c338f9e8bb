"""New data with labels: read by a contract that it may break, and measured as far as it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.cells import (
    FALSE_WORDS,
    TRUE_WORDS,
    CellError,
    NumberFormat,
    canonical_text,
    found_unit,
    parse_number,
)
from roadworthy.contract import Column, Contract, Target
from roadworthy.errors import RowsError
from roadworthy.project import DataSection, Project
from roadworthy.table import ColumnProfile, Table
from roadworthy.table.conform import POLARS_TYPES, conform
from roadworthy.table.sources import Source, read_frame, trim
from roadworthy.table.weights import read_weights

_SHOWN = 5


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What is noticed about one column of new data.

    Attributes:
        column: The column.
        kind: `absent`; `refused` (cells that the contract does not take); `unseen` (levels that
            the training table did not have); `outside` (its range); `blank` (more blanks than the
            training table had); `target` (rows whose label is blank or unknown); `extra`.
        rows: How many rows it concerns.
        first: The first of them, counted from 0.
        what: In a sentence.
    """

    column: str
    kind: Literal["absent", "refused", "unseen", "outside", "blank", "target", "extra"]
    rows: int
    first: tuple[int, ...] = ()
    what: str


class Incoming(NamedTuple):
    """New data as far as it can be used.

    Attributes:
        table: Rows with a label that the model can be asked for; None when there are none.
        frame: All rows that it can be asked for, labelled or not.
        rows: Where the rows of `table` stand in the data, counted from 0.
        read: Rows of the data.
        findings: What is noticed, column by column.
        source: The data as it was read.
    """

    table: Table | None
    frame: pl.DataFrame
    rows: NDArray[np.int64]
    read: int
    findings: tuple[Finding, ...]
    source: Source


def read_incoming(data: Any, contract: Contract, project: Project | None = None) -> Incoming:
    """Read new data by a contract.

    Rows with a cell that the contract refuses are left out, as a server would refuse them; a
    column that is absent counts as blank, so that the rest can still be measured.

    Args:
        data: A file or a data frame, as for `read_table`, or what was read of one before.
        contract: The model's contract.
        project: The project, for groups, times and the columns to slice by.

    Raises:
        InputError: The data cannot be read at all.
    """
    said = msgspec.structs.asdict(contract.text)
    options = DataSection(blanks=contract.blanks, **said)
    source = data if isinstance(data, Source) else read_frame(data, options)
    raw, wanted = source.frame, project or Project()
    keep = np.ones(raw.height, dtype=bool)
    findings: list[Finding] = []
    columns = []
    for column in contract.columns:
        cells, good, found = _column(raw, column, contract, source.text)
        columns.append(cells)
        findings += found
        keep &= good
    typed = pl.DataFrame(columns).with_columns(_extra(source, contract, wanted))
    labels, known, found = read_labels(raw, contract, contract.target.name)
    findings += [*found, *_unknown(raw, contract)]
    rows = np.flatnonzero(keep & known)
    table = None
    if len(rows):
        table = _table(source, typed, labels, contract, wanted, rows)
    frame = typed.filter(pl.Series(keep)).select(contract.names)
    return Incoming(table, frame, rows, raw.height, tuple(findings), source)


def _column(
    raw: pl.DataFrame, column: Column, contract: Contract, text: bool
) -> tuple[pl.Series, NDArray[np.bool_], list[Finding]]:
    """A column typed, which rows are good, and what was found."""
    height, kind = raw.height, POLARS_TYPES[column.kind]
    every = np.ones(height, dtype=bool)
    if column.name not in raw.columns:
        what = "the column is absent: it was taken for blank, and a server refuses such rows"
        blank = pl.Series(column.name, [None] * height, dtype=kind)
        return blank, every, [Finding(column=column.name, kind="absent", rows=height, what=what)]
    series = raw[column.name]
    single = msgspec.structs.replace(contract, columns=(column,))
    try:
        cells = conform(series.to_frame(), single, text=text)[column.name]
        return cells, every, _notices(cells, column)
    except RowsError:
        pass
    reasons = _refusals(series, column, contract, text)
    bad = np.array([reason is not None for reason in reasons])
    relaxed = msgspec.structs.replace(column, on_blank="impute", on_unseen="warn")
    single = msgspec.structs.replace(contract, columns=(relaxed,))
    emptied = pl.Series(column.name, [None] * height, dtype=kind)
    if not bad.all():
        kept = pl.when(pl.Series(~bad)).then(series).otherwise(None).alias(column.name)
        emptied = conform(raw.select(kept), single, text=text)[column.name]
    return emptied, ~bad, [*_refused(column.name, reasons), *_notices(emptied, column)]


def _refusals(
    series: pl.Series, column: Column, contract: Contract, text: bool
) -> list[str | None]:
    """Why each cell is refused; None where it is not."""
    if series.dtype.is_nested():
        return [f"cells of type {series.dtype} cannot be read"] * len(series)
    if isinstance(series.dtype, (pl.Categorical, pl.Enum)):
        series = series.cast(pl.String)
    read: Callable[[Any, Sequence[str]], Any] = column.read_text if text else column.read_value
    known: dict[Any, str | None] = {}
    for cell in series.unique():
        try:
            read(cell, contract.blanks)
            known[cell] = None
        except CellError as error:
            known[cell] = str(error)
        except (OverflowError, ValueError):
            known[cell] = "cannot be read"
    return [known.get(cell, "cannot be read") for cell in series]


def _refused(name: str, reasons: list[str | None]) -> list[Finding]:
    by_reason: dict[str, list[int]] = {}
    for row, reason in enumerate(reasons):
        if reason is not None:
            by_reason.setdefault(reason, []).append(row)
    return [
        Finding(
            column=name,
            kind="refused",
            rows=len(rows),
            first=tuple(rows[:_SHOWN]),
            what=f"{reason}: these rows are refused and left out",
        )
        for reason, rows in by_reason.items()
    ]


def _notices(cells: pl.Series, column: Column) -> list[Finding]:
    """What the contract takes with a warning: unseen levels, numbers out of range, blanks."""
    found = []
    blanks = cells.is_null()
    share = cells.null_count() / max(1, len(cells))
    if share > max(0.05, 2 * column.blank_share):
        what = f"{share:.1%} of the cells are blank, in training it was {column.blank_share:.1%}"
        found.append(_finding(column.name, "blank", blanks, what))
    if column.kind == "category":
        strange = ~cells.is_in(list(column.categories)).fill_null(value=True)
        if strange.any():
            names = cells.filter(strange).unique().sort()
            shown = ", ".join(repr(str(name)[:40]) for name in names.head(_SHOWN))
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            what = f"levels that the training table did not have: {shown}{more}"
            found.append(_finding(column.name, "unseen", strange, what))
    elif column.kind in ("number", "date") and column.minimum is not None:
        numbers = cells.cast(pl.Int64) / 1e6 if cells.dtype.is_temporal() else cells
        beyond = ((numbers < column.minimum) | (numbers > column.maximum)).fill_null(value=False)
        if beyond.any():
            what = "outside the range of the training table"
            found.append(_finding(column.name, "outside", beyond, what))
    return found


def _finding(column: str, kind: Any, rows: pl.Series, what: str) -> Finding:
    places = rows.arg_true()
    first = tuple(places.head(_SHOWN).to_list())
    return Finding(column=column, kind=kind, rows=len(places), first=first, what=what)


def _unknown(raw: pl.DataFrame, contract: Contract) -> list[Finding]:
    known = {*contract.names, *contract.ignored, contract.target.name}
    return [
        Finding(
            column=name, kind="extra", rows=raw.height, what="not a column of the model: unused"
        )
        for name in raw.columns
        if name not in known
    ]


def read_labels(
    raw: pl.DataFrame, contract: Contract, name: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_], list[Finding]]:
    """Read true or expected targets.

    Args:
        raw: The data as read.
        contract: The contract, for classes and number formats.
        name: The column that holds them.

    Returns:
        Class position or number of each row `[N]`, whether there is one that the model knows, and
        what was found.
    """
    target = contract.target
    if name not in raw.columns:
        what = "the target is absent: nothing can be measured against the truth"
        finding = Finding(column=name, kind="target", rows=raw.height, what=what)
        return np.zeros(raw.height), np.zeros(raw.height, dtype=bool), [finding]
    series = trim(raw[name], contract.blanks)
    read = (
        _number_reader(series, contract) if target.task == "regression" else _class_reader(target)
    )
    blank = series.is_null().to_numpy()
    values: dict[Any, float] = {}
    for cell in series.drop_nulls().unique():
        values[cell] = read(cell)
    labels = np.array([values.get(cell, np.nan) for cell in series], dtype=np.float64)
    known = np.isfinite(labels)
    found = []
    if blank.any():
        found.append(_finding(name, "target", pl.Series(blank), "the label is blank"))
    strange = ~known & ~blank
    if strange.any():
        wanted = "a number" if target.task == "regression" else "a class that the model knows"
        names = sorted({str(cell)[:40] for cell, bad in zip(series, strange, strict=True) if bad})
        shown = ", ".join(map(repr, names[:_SHOWN]))
        what = f"the label is not {wanted}: {shown}"
        found.append(_finding(name, "target", pl.Series(strange), what))
    return np.where(known, labels, 0.0), known, found


def _number_reader(series: pl.Series, contract: Contract) -> Callable[[Any], float]:
    """Reads the numbers of a target, by the first of the table's formats that reads them all."""
    formats = [column.number_format for column in contract.columns if column.kind == "number"]
    texts = (
        [str(cell) for cell in series.drop_nulls().head(200)] if series.dtype == pl.String else []
    )

    def failures(written: Any) -> int:
        count = 0
        for text in texts:
            try:
                parse_number(text, written)
            except CellError:
                count += 1
        return count

    candidates = [NumberFormat(), *dict.fromkeys(formats)]
    if texts and (unit := found_unit(texts[0])):  # the contract keeps no format of the target
        marks = [("", "."), (".", ","), (",", ".")]
        candidates += [NumberFormat(decimal, mark, unit) for mark, decimal in marks]
    written = min(candidates, key=failures)

    def read(cell: Any) -> float:
        try:
            return parse_number(cell, written) if isinstance(cell, str) else float(cell)
        except (CellError, TypeError, ValueError):
            return float("nan")

    return read


def _class_reader(target: Target) -> Callable[[Any], float]:
    """Reads classes however they are written: `1`, `1.0`, `true`."""
    places = {name: float(code) for code, name in enumerate(target.class_names)}
    truth = {class_ for class_ in target.classes if isinstance(class_, bool)}

    def read(cell: Any) -> float:
        text = str(cell).lower() if isinstance(cell, bool) else str(cell)
        if text in places:
            return places[text]
        if truth and text.lower() in (*TRUE_WORDS, *FALSE_WORDS):
            return places[str(text.lower() in TRUE_WORDS).lower()]
        try:
            number = float(text)
        except ValueError:
            return float("nan")
        return places.get(canonical_text(number), float("nan")) if np.isfinite(number) else number

    return read


def _extra(source: Source, contract: Contract, project: Project) -> list[pl.Series]:
    """Columns that the model does not take and the gates slice by."""
    gates = project.gates
    named = [*gates.slices, *gates.slice]
    named += [*gates.demographic_parity_difference, *gates.demographic_parity_ratio]
    named += [*gates.equalized_odds_difference, *gates.equal_opportunity_difference]
    extra = [
        name
        for name in dict.fromkeys(named)
        if name in source.frame.columns and name not in contract.names
    ]
    return [_guess(trim(source.frame[name], contract.blanks)) for name in extra]


def _guess(series: pl.Series) -> pl.Series:
    """Numbers of many values as numbers, all else as levels."""
    numbers = series.cast(pl.Float64, strict=False)
    if numbers.null_count() == series.null_count() and series.n_unique() > 20:
        return numbers
    return series.cast(pl.String)


def _table(
    source: Source,
    typed: pl.DataFrame,
    labels: NDArray[np.float64],
    contract: Contract,
    project: Project,
    rows: NDArray[np.int64],
) -> Table:
    frame, options = typed[rows], project.data
    kinds = {column.name: column.kind for column in contract.columns}
    profiles = tuple(
        ColumnProfile(
            name=cells.name,
            kind=kinds.get(cells.name, "number" if cells.dtype.is_numeric() else "category"),
            reason="by the contract" if cells.name in kinds else "to slice by",
            blanks=cells.null_count(),
            distinct=cells.drop_nulls().n_unique(),
            used=cells.name in kinds,
        )
        for cells in frame
    )
    return Table(
        name=contract.target.name,
        source=source.origin,
        frame=frame,
        labels=labels[rows],
        target=contract.target.name,
        task=contract.target.task,
        classes=contract.target.classes,
        profiles=profiles,
        contract=contract,
        notes=source.notes,
        groups=_codes(source.frame, options.group, rows),
        times=_times(source.frame, options.time, rows),
        weights=_weights(source.frame, options.weight, rows),
    )


def _codes(raw: pl.DataFrame, name: str | None, rows: NDArray[np.int64]) -> Any:
    if name is None or name not in raw.columns:
        return None
    dense = raw[name].cast(pl.String).rank("dense").fill_null(0)
    return dense.to_numpy().astype(np.int64)[rows]


def _weights(raw: pl.DataFrame, name: str | None, rows: NDArray[np.int64]) -> Any:
    if name is None or name not in raw.columns:
        return None
    return read_weights(raw[name].cast(pl.Float64, strict=False)[rows], rows)


def _times(raw: pl.DataFrame, name: str | None, rows: NDArray[np.int64]) -> Any:
    if name is None or name not in raw.columns:
        return None
    series = raw[name]
    if series.dtype == pl.String:
        numbers = series.cast(pl.Float64, strict=False)
        dates = series.str.to_datetime(strict=False, ambiguous="null")
        series = numbers if numbers.null_count() <= dates.null_count() else dates
    if series.dtype.is_temporal():
        series = series.cast(pl.Datetime("us")).cast(pl.Int64)
    times = series.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()[rows]
    return times if np.isfinite(times).all() else None
