"""Answers: one row by the shortest way, many in slices, all counted.

One row of JSON that keeps the contract is decoded by code generated from the contract, looked up,
run, and encoded, and nothing else. `Batch` is what every other form and dialect goes through.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from time import perf_counter
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from roadworthy.bundle import Bundle
from roadworthy.bundle.answers import answer, class_chooser
from roadworthy.bundle.engine import check_finite
from roadworthy.contract import Target
from roadworthy.errors import RowsError
from roadworthy.observe.recording import Recorder
from roadworthy.prepare.rows import BLANK, RANGE, UNSEEN, Note
from roadworthy.serve.bodies import SHORT_WAY_FAILS, SLICE, BodyReader, check_keys
from roadworthy.serve.columns import Encoded, Inputs
from roadworthy.serve.problems import RequestProblem

_MAX_WARNINGS = 1000
_MESSAGES = {
    BLANK: "blank: answered with the value that stands for a blank",
    UNSEEN: "not a level that the model knows: answered as an unknown level",
    RANGE: "outside the range of the training table",
    "unknown": "not a column of the model: ignored",
}


class Warning(msgspec.Struct, gc=False):  # noqa: A001 (what the answer calls it)
    """One thing noticed in a row that was answered all the same."""

    column: str
    code: str
    message: str
    row: int | UnsetType = UNSET


class Answer(msgspec.Struct, gc=False):
    """One row's answer; no probabilities for regression."""

    prediction: Any
    probabilities: Any


class One(msgspec.Struct, gc=False):
    """The answer to one row."""

    prediction: Any
    probabilities: Any
    model: str
    version: str
    request_id: str
    warnings: Sequence[Warning]


class AnswerWithInterval(msgspec.Struct, gc=False):
    """One row's answer from a regression with prediction intervals."""

    prediction: float
    interval: list[float]


class OneWithInterval(msgspec.Struct, gc=False):
    """The answer to one row from a regression with prediction intervals."""

    prediction: float
    interval: list[float]
    model: str
    version: str
    request_id: str
    warnings: Sequence[Warning]


class Many(msgspec.Struct, gc=False):
    """The answer to many rows."""

    predictions: list[Answer | AnswerWithInterval]
    model: str
    version: str
    request_id: str
    warnings: Sequence[Warning]


class Counts:
    """What was predicted and noticed, for `/metrics`; plain integers, added to by one thread."""

    def __init__(self) -> None:
        self.rows = 0
        self.classes: Counter[int] = Counter()
        self.notes: Counter[tuple[str, int]] = Counter()


class Batch(NamedTuple):
    """The answers to many rows, before they take a dialect's form.

    Attributes:
        scores: Probabilities `[N, K]` or predictions `[N, 1]`.
        codes: Positions of the answered classes `[N]`; empty for regression.
        warnings: What was noticed, at most a thousand.
    """

    scores: NDArray[np.float64]
    codes: NDArray[np.int64]
    warnings: list[Warning]


OnAnswer = Callable[[str, "Predictor", Inputs, Sequence[Sequence[float]]], None]
"""Called with request id, predictor, inputs and scores of what was answered."""
OnBatch = Callable[[Encoded, "Batch", float], None]
"""Called with rows, answers and their seconds; not for a single row by the short way."""


class Predictor:
    """Answers for one bundle.

    Args:
        bundle: The bundle.
        max_rows: Rows that one request may hold.
        max_text: Characters that one cell may hold.
        max_body: Bytes that one body may hold, decompressed.
    """

    def __init__(
        self,
        bundle: Bundle,
        max_rows: int,
        max_text: int = 100_000,
        max_body: int = 16_000_000,
    ) -> None:
        self.bundle = bundle
        self.contract = bundle.contract
        self.target = bundle.contract.target
        self.engine = bundle.engine
        self.reader = BodyReader(bundle, max_rows, max_text)
        self.max_body = max_body
        self.short_version = bundle.manifest.short_version
        self.counts = Counts()
        self.on_answer: OnAnswer | None = None
        self.recorder: Recorder | None = None
        self.on_batch: OnBatch | None = None
        self._model = bundle.manifest.name, bundle.manifest.version
        self._classes = self.target.classes
        self._interval = self.target.interval
        plain = self._interval is None
        self._form: type[Any] = Answer if plain else AnswerWithInterval
        self._one_form: type[Any] = One if plain else OneWithInterval
        self._choose = class_chooser(self.target)
        self._probabilities = _probability_type(self.target)
        self._encode_answer = msgspec.json.Encoder().encode

    def one(self, body: bytes, request_id: str) -> bytes | None:
        """Answer one row by the shortest way.

        Args:
            body: JSON.
            request_id: A text of letters, digits, `-`, `_` and `.`.

        Returns:
            The answer as JSON; None when the body is not one plain row that keeps the contract.

        Raises:
            RequestProblem: A key stands twice.
        """
        reader = self.reader
        try:
            record = reader.decode_one(body)
            vector, notes = reader.rows.encode(record)
            if len(body) > reader.max_text:
                reader.check_texts(record)
        except (*SHORT_WAY_FAILS, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if body.count(b'"') != (reader.quotes_of(record) if notes else reader.quotes):
            check_keys(body)
        try:
            scores = self.engine.run_one(vector)
        except RowsError:  # only scikit-learn itself refuses a row: the long way says so
            return None
        if not math.isfinite(sum(scores)):  # neither JSON nor a caller can use it
            return None
        self.counts.rows += 1
        warnings: Sequence[Warning] = ()
        if notes:
            self.counts.notes.update(notes)
            warnings = [self._warning(note, UNSET) for note in notes]
        if self.recorder is not None:
            self.recorder.add(vector, scores, notes)
        if self.on_answer is not None:
            self.on_answer(request_id, self, Inputs((record,), size=len(body)), (scores,))
        return self._encode_answer(
            self._one_form(*self._answer(scores), *self._model, request_id, warnings)
        )

    async def check_golden(self) -> None:
        """Ask for the golden rows by the very ways that requests take, alone and together.

        Raises:
            CheckFailed: One is answered wrong: such a model is never served.
        """
        rows = [golden.row for golden in self.bundle.golden]
        alone = []
        for body in map(msgspec.json.encode, rows):
            given = self.one(body, "golden") or await self.json(body, "golden")
            alone.append(msgspec.json.decode(given))
        self.bundle.check_answers(alone)
        for shape in (list, _columns_of):
            answers = []
            for start in range(0, len(rows), self.reader.max_rows):
                part = shape(rows[start : start + self.reader.max_rows])
                given = await self.json(msgspec.json.encode(part), "golden")
                answers += msgspec.json.decode(given)["predictions"]
            self.bundle.check_answers(answers)
        self.counts = Counts()

    async def json(self, body: bytes, request_id: str) -> bytes:
        """Answer any JSON body; raises RequestProblem."""
        encoded, single = await self.reader.json(body)
        batch = await self.batch(encoded, request_id, single=single)
        return self.encode(batch, request_id, single=single)

    def _run(self, matrix: NDArray[np.float64], start: int, step: int) -> NDArray[np.float64]:
        """Scores of one slice; RequestProblem for rows without a finite answer.

        A model of others may overflow on far numbers, and scikit-learn itself refuses rows.
        """
        try:
            scores = self.engine.run_many(matrix[start : start + step])
            check_finite(scores)
        except RowsError as error:
            problems = [each._replace(row=start + (each.row or 0)) for each in error.problems]
            raise RequestProblem(422, "the model has no answer to these rows", problems) from None
        return scores

    async def batch(
        self, encoded: Encoded, request_id: str, *, single: bool = False, told: bool = True
    ) -> Batch:
        """Run encoded rows in slices, and count them.

        Args:
            encoded: The rows.
            request_id: The request's id.
            single: Whether it was one row by itself.
            told: Whether `on_batch` is called.
        """
        began = perf_counter()
        matrix = encoded.matrix
        parts = []
        step = SLICE if len(matrix) > self.engine.whole else len(matrix)
        for start in range(0, len(matrix), step):
            parts.append(self._run(matrix, start, step))
            await asyncio.sleep(0)
        scores = np.concatenate(parts).reshape(len(matrix), -1)
        codes = np.empty(0, dtype=np.int64)
        if self._classes:
            codes = self.target.predicted_codes(scores)
            found = np.bincount(codes, minlength=len(self._classes)).tolist()
            self.counts.classes.update(dict(enumerate(found)))
        self.counts.rows += len(matrix)
        if (recorder := self.recorder) is not None:
            if len(matrix) <= recorder.small:
                recorder.add_many(matrix, scores, encoded.noticed)
            else:
                await asyncio.to_thread(recorder.count_many, matrix, scores, encoded.noticed)
        if self.on_answer is not None:
            self.on_answer(request_id, self, encoded.inputs, scores.tolist())
        for note, rows in encoded.noticed.items():
            self.counts.notes[note] += len(rows)
        batch = Batch(scores, codes, self._warnings(encoded, single))
        if told and self.on_batch is not None:
            self.on_batch(encoded, batch, perf_counter() - began)
        return batch

    def encode(self, batch: Batch, request_id: str, *, single: bool = False) -> bytes:
        """The native answer to a batch."""
        answers = self.answers(batch)
        if single:
            parts = msgspec.structs.astuple(next(answers))
            one = self._one_form(*parts, *self._model, request_id, batch.warnings)
            return self._encode_answer(one)
        return self._encode_answer(Many(list(answers), *self._model, request_id, batch.warnings))

    def answers(self, batch: Batch) -> Iterator[Answer | AnswerWithInterval]:
        """The native answer to each row."""
        if not self._classes:
            return (self._form(*self._answer(scores)) for scores in batch.scores.tolist())
        shares = map(self._probabilities, *batch.scores.T.tolist())
        return map(Answer, self.predictions(batch), shares)

    def plain_answer(self, scores: Sequence[float]) -> dict[str, Any]:
        """The answer to one row's scores as plain data."""
        return answer(self.target, scores)

    def predictions(self, batch: Batch) -> list[Any]:
        """The answered class or number of each row."""
        if not self._classes:
            numbers: list[Any] = batch.scores[:, 0].tolist()
            return numbers
        return [self._classes[code] for code in batch.codes.tolist()]

    def _answer(self, scores: Sequence[float]) -> tuple[Any, Any]:
        """The prediction, and the probabilities or the interval, as they are encoded."""
        if not self._classes:
            interval = self._interval
            return scores[0], UNSET if interval is None else interval.around(scores[0])
        chosen = self._choose(scores)
        self.counts.classes[chosen] += 1
        return self._classes[chosen], self._probabilities(*scores)

    def _warning(self, note: Note, row: int | UnsetType) -> Warning:
        code, place = note
        return Warning(self.contract.names[place], code, _MESSAGES[code], row)

    def _warnings(self, encoded: Encoded, single: bool) -> list[Warning]:
        # a column that is not the model's is told once, however many rows have it
        warnings = [
            Warning(name, "unknown", _MESSAGES["unknown"])
            for name in encoded.unknown[:_MAX_WARNINGS]
        ]
        order = heapq.merge(
            *(
                zip(rows[:_MAX_WARNINGS], repeat(place), repeat(code))
                for (code, place), rows in encoded.noticed.items()
            )
        )
        for row, place, code in order:
            if len(warnings) >= _MAX_WARNINGS:
                break
            warnings.append(self._warning((code, place), UNSET if single else row))
        return warnings


def _columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row.get(name) for row in rows] for name in rows[0]}


def _probability_type(target: Target) -> Callable[..., Any]:
    """What makes probabilities by class name of scores, in a form that encodes fast."""
    names = target.class_names
    rename = {f"p{place}": name for place, name in enumerate(names)}
    try:
        return msgspec.defstruct(
            "Probabilities", [(field, float) for field in rename], rename=rename, gc=False
        )
    except ValueError:  # a name with a quotation mark or the like: a dict takes any
        return lambda *scores: dict(zip(names, scores, strict=True))
