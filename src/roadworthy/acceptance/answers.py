"""Expected answers: the bundle's golden rows, the user's own file, and how rows may be written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import msgspec
import polars as pl

from roadworthy.acceptance.subject import Subject
from roadworthy.bundle import Bundle
from roadworthy.bundle.bundle import same_answer
from roadworthy.bundle.frames import json_rows
from roadworthy.contract import class_name
from roadworthy.errors import InputError, RowsError
from roadworthy.evaluate.behaviour import Behaviour, Example
from roadworthy.evaluate.incoming import read_labels
from roadworthy.project import DataSection
from roadworthy.table.conform import conform
from roadworthy.table.sources import read_frame

_SHOWN = 5
_PROBABILITY = "probability_"


def check_golden(subject: Subject, bundle: Bundle) -> Behaviour:
    """Whether the golden rows are answered as when the bundle was made, together and alone."""
    golden, target = bundle.golden, bundle.contract.target
    expectation = "every golden row is answered as when the bundle was made"
    rows = [entry.row for entry in golden]
    examples: dict[int, Example] = {}
    try:
        ways = [subject.answers(rows), [subject.answers([row])[0] for row in rows]] if rows else []
    except RowsError as error:
        note = f"the rows were refused: {error.problems[0]}"
        return Behaviour(
            name="golden", expectation=expectation, rows=len(rows), failures=len(rows), note=note
        )
    for answers in ways:
        for number, (entry, given) in enumerate(zip(golden, answers, strict=True)):
            if not _same(given, entry.expected, target.scale):
                examples.setdefault(number, Example(entry.row, {}, entry.expected, _short(given)))
    return Behaviour(
        name="golden",
        expectation=expectation,
        rows=len(rows),
        failures=len(examples),
        examples=tuple(list(examples.values())[:_SHOWN]),
    )


def _same(given: dict[str, Any], expected: dict[str, Any], scale: float) -> bool:
    try:
        return same_answer(given, expected, scale)
    except (KeyError, TypeError, ValueError):
        return False


def _short(answer: dict[str, Any]) -> dict[str, Any]:
    return {k: answer[k] for k in ("prediction", "probabilities", "interval") if k in answer}


def check_expected(
    subject: Subject, bundle: Bundle, file: str | os.PathLike[str], tolerance: float
) -> Behaviour:
    """Whether the rows of a file are answered as the file says.

    Besides the model's columns it holds `prediction` (or the target's own column) and, if wanted,
    `probability_CLASS`; a class must be met exactly, a number within its row's `tolerance` or the
    given one.

    Args:
        subject: Who is asked.
        bundle: The contract to read by.
        file: A CSV or Parquet file.
        tolerance: How far a number may lie from the expected one.

    Raises:
        InputError: The file cannot be read or expects nothing.
    """
    contract = bundle.contract
    said = msgspec.structs.asdict(contract.text)
    source = read_frame(os.fspath(file), DataSection(blanks=contract.blanks, **said))
    wanted = _expectations(source.frame, bundle, str(file), text=source.text)
    typed = conform(source.frame, contract, text=source.text, absent=bundle.absent)
    rows = json_rows(typed, contract)
    answers = subject.answers(rows) if rows else []
    limits = _numbers(source.frame, "tolerance") or [tolerance] * len(rows)
    examples = []
    for number, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        missed = _missed(answer, {k: v[number] for k, v in wanted.items()}, limits[number])
        if missed:
            expected = {name: wanted[name][number] for name in missed}
            examples.append(Example({"row": number, **row}, {}, expected, _short(answer)))
    return Behaviour(
        name="expected",
        expectation=f"every row of {os.path.basename(file)} is answered as it says",
        rows=len(rows),
        failures=len(examples),
        examples=tuple(examples[:_SHOWN]),
    )


def _expectations(
    frame: pl.DataFrame, bundle: Bundle, file: str, *, text: bool
) -> dict[str, Sequence[Any]]:
    """Column -> what each row expects; None where it expects nothing."""
    target = bundle.contract.target
    column = "prediction" if "prediction" in frame.columns else target.name
    wanted: dict[str, Sequence[Any]] = {}
    if column in frame.columns:
        labels, known, _ = read_labels(frame, bundle.contract, column)
        if not known.any():
            raise InputError(
                f"column {column!r} holds no answer that the model can give", where=file
            )
        if target.task == "regression":
            wanted["prediction"] = [
                label if good else None for label, good in zip(labels, known, strict=True)
            ]
        else:
            wanted["prediction"] = [
                target.class_names[int(label)] if good else None
                for label, good in zip(labels, known, strict=True)
            ]
    for name in target.class_names:
        shares = _numbers(frame, f"{_PROBABILITY}{name}")
        if shares is not None:
            wanted[f"{_PROBABILITY}{name}"] = shares
    if not wanted:
        raise InputError(
            "the file expects nothing",
            where=file,
            fix=f"give it a column 'prediction', {target.name!r} or '{_PROBABILITY}CLASS'",
        )
    return wanted


def _numbers(frame: pl.DataFrame, name: str) -> list[Any] | None:
    if name not in frame.columns:
        return None
    return list(frame[name].cast(pl.Float64, strict=False))


def _missed(answer: dict[str, Any], wanted: dict[str, Any], limit: float | None) -> list[str]:
    """Names of the expectations that an answer does not meet."""
    missed = []
    allowed = 0.0 if limit is None else limit
    for name, value in wanted.items():
        if value is None:
            continue
        if name == "prediction":
            given = answer.get("prediction")
            if isinstance(value, str):
                good = given is not None and class_name(given) == value
            else:
                good = isinstance(given, (int, float)) and abs(given - value) <= allowed
        else:
            share = answer.get("probabilities", {}).get(name.removeprefix(_PROBABILITY))
            good = share is not None and abs(share - value) <= allowed
        if not good:
            missed.append(name)
    return missed


def check_writing(subject: Subject, bundle: Bundle) -> tuple[Behaviour, ...]:
    """Whether it makes no difference how a row is written: white space, order, other columns."""
    rows = [entry.row for entry in bundle.golden][:25]
    if not rows:
        return ()
    unused = "a column that the model does not know"
    changes = {
        "white space": (
            "white space around a text changes no answer",
            [{k: f"  {v}\t" if isinstance(v, str) else v for k, v in row.items()} for row in rows],
        ),
        "irrelevant columns": (
            "columns that the model does not take change no answer",
            [{unused: 1.5, **row, bundle.contract.target.name: "x"} for row in rows],
        ),
        "column order": (
            "the order of a row's columns changes no answer",
            [dict(reversed(list(row.items()))) for row in rows],
        ),
    }
    found = []
    for name, (expectation, changed) in changes.items():
        try:
            before, after = subject.answers(rows), subject.answers(changed)
        except RowsError as error:
            note = f"the rows were refused: {error.problems[0]}"
            found.append(
                Behaviour(
                    name=name,
                    expectation=expectation,
                    rows=len(rows),
                    failures=len(rows),
                    note=note,
                )
            )
            continue
        scale = bundle.contract.target.scale
        pairs = zip(rows, changed, before, after, strict=True)
        examples = [
            Example(dict(row), dict(new), _short(old), _short(given))
            for row, new, old, given in pairs
            if not _same(given, old, scale)
        ]
        found.append(
            Behaviour(
                name=name,
                expectation=expectation,
                rows=len(rows),
                failures=len(examples),
                examples=tuple(examples[:_SHOWN]),
            )
        )
    return tuple(found)
