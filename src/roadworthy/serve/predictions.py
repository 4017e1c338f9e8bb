"""`POST /predict`: bytes in, bytes out.

A request that keeps the contract takes the short way: a decoder generated from the contract,
table look-ups, one bound run of the core, and an encoder. Anything the short way stumbles over
is read again slowly and thoroughly, to say everything that is wrong with it at once.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from roadworthy.bundle import Bundle
from roadworthy.bundle.answers import class_chooser
from roadworthy.cells import CellError
from roadworthy.contract import Target
from roadworthy.errors import Problem
from roadworthy.prepare.rows import BLANK, RANGE, UNSEEN, Note
from roadworthy.serve.problems import RequestProblem

_MAX_PROBLEMS = 50
_MAX_WARNINGS = 1000
_MESSAGES = {
    BLANK: "blank: answered with the value that stands for a blank",
    UNSEEN: "not a level that the model knows: answered as an unknown level",
    RANGE: "outside the range of the training table",
    "unknown": "not a column of the model: ignored",
}
_SHORT_WAY_FAILS = (msgspec.ValidationError, CellError)


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

    predictions: list[Answer] | list[AnswerWithInterval]
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


class Predictor:
    """Answers the bodies of `/predict` for one bundle.

    Args:
        bundle: The bundle.
        max_rows: Rows that one request may hold.
    """

    def __init__(self, bundle: Bundle, max_rows: int) -> None:
        self.bundle = bundle
        self.contract = bundle.contract
        self.engine = bundle.engine
        self.rows = self.engine.rows
        self.max_rows = max_rows
        self.counts = Counts()
        self._one = msgspec.json.Decoder(self.rows.record).decode
        self._many = msgspec.json.Decoder(list[self.rows.record]).decode  # type: ignore[name-defined]
        self._any = msgspec.json.Decoder().decode
        self._quotes = 2 * (len(self.contract.columns) + self.rows.texts)
        self._model = bundle.manifest.name, bundle.manifest.version
        self._classes = self.contract.target.classes
        self._interval = self.contract.target.interval
        plain = self._interval is None
        self._form: type[Any] = Answer if plain else AnswerWithInterval
        self._one_form: type[Any] = One if plain else OneWithInterval
        self._choose = class_chooser(self.contract.target)
        self._probabilities = _probability_type(self.contract.target)
        self._encode = msgspec.json.Encoder().encode

    def __call__(self, body: bytes, request_id: str) -> bytes:
        """Answer one request.

        Args:
            body: JSON: one object, a list of objects, or an object of columns.
            request_id: A text of letters, digits, `-`, `_` and `.`.

        Returns:
            The answer as JSON.

        Raises:
            RequestProblem: The body cannot be answered.
        """
        try:
            if body[:1] == b"{":
                return self._answer_one(body, request_id)
            return self._answer_many(body, request_id)
        except _SHORT_WAY_FAILS as error:
            return self._slowly(body, request_id, error)
        except msgspec.DecodeError as error:
            raise RequestProblem(400, _malformed(body, error)) from None
        except UnicodeDecodeError:
            raise RequestProblem(400, "the body is not UTF-8 text") from None
        except RecursionError:
            raise RequestProblem(400, "the body is nested too deeply") from None

    def _answer_one(self, body: bytes, request_id: str) -> bytes:
        vector, notes = self.rows.encode(self._one(body))
        if notes or body.count(b'"') != self._quotes:
            _check_keys(body)
        self.counts.rows += 1
        warnings = self._warnings(notes) if notes else ()
        prediction, beside = self._answer(self.engine.run_one(vector))
        return self._encode(self._one_form(prediction, beside, *self._model, request_id, warnings))

    def _answer_many(self, body: bytes, request_id: str) -> bytes:
        rows = self._many(body)
        self._check_count(len(rows))
        encode = self.rows.encode
        vectors: list[tuple[float, ...]] = []
        noted: list[tuple[int, list[Note]]] = []
        for number, row in enumerate(rows):
            vector, notes = encode(row)
            vectors.append(vector)
            if notes:
                noted.append((number, notes))
        if noted or body.count(b'"') != self._quotes * len(rows):
            _check_keys(body)
        return self._batch(vectors, noted, [], request_id)

    def _batch(
        self,
        vectors: Sequence[tuple[float, ...]],
        noted: list[tuple[int, list[Note]]],
        warnings: list[Warning],
        request_id: str,
    ) -> bytes:
        scores = self.engine.run_many(np.array(vectors)).reshape(len(vectors), -1)
        answers = [self._form(*self._answer(row)) for row in scores.tolist()]
        self.counts.rows += len(vectors)
        for number, notes in noted:
            found = self._warnings(notes, number)
            warnings += found if len(warnings) < _MAX_WARNINGS else []
        return self._encode(Many(answers, *self._model, request_id, warnings[:_MAX_WARNINGS]))

    def _answer(self, scores: Sequence[float]) -> tuple[Any, Any]:
        """The prediction, and the probabilities or the interval, as they are encoded."""
        if not self._classes:
            interval = self._interval
            return scores[0], UNSET if interval is None else interval.around(scores[0])
        chosen = self._choose(scores)
        self.counts.classes[chosen] += 1
        return self._classes[chosen], self._probabilities(*scores)

    def _warnings(self, notes: Sequence[Note], row: int | UnsetType = UNSET) -> list[Warning]:
        self.counts.notes.update(notes)
        names = self.contract.names
        return [Warning(names[place], code, _MESSAGES[code], row) for code, place in notes]

    def _check_count(self, rows: int) -> None:
        if not rows:
            raise RequestProblem(422, "the list holds no rows: send at least one")
        if rows > self.max_rows:
            raise RequestProblem(
                413, f"{rows} rows are more than {self.max_rows}: send them in several requests"
            )

    def _slowly(self, body: bytes, request_id: str, refusal: Exception) -> bytes:
        """Read a body that the generated decoder refused, cell by cell."""
        try:
            content = self._any(body)
        except msgspec.ValidationError:  # the one thing that untyped JSON can still break
            problem = Problem("is a number beyond the range of a 64-bit float", *_place(refusal))
            raise RequestProblem(422, _summary([problem]), [problem]) from None
        except msgspec.DecodeError as error:
            raise RequestProblem(400, _malformed(body, error)) from None
        except RecursionError:
            raise RequestProblem(400, "the body is nested too deeply") from None
        single = isinstance(content, dict) and not _is_columns(content)
        rows = self._rows_of(content)
        self._check_count(len(rows))
        _check_keys(body)
        problems: list[Problem] = []
        unknown: dict[str, None] = {}
        noted: list[tuple[int, list[Note]]] = []
        vectors: list[tuple[float, ...]] = []
        for number, row in enumerate(rows):
            place = None if single else number
            if not isinstance(row, dict):
                problems.append(Problem("a row must be an object of column: value", None, place))
            else:
                values = self.contract.read_row(
                    row, problems, number=place, absent=self.bundle.absent
                )
                unknown.update(dict.fromkeys(self.contract.unknown_columns(row)))
                if not problems:
                    vector, notes = self.rows.encode(self.rows.record(*values))
                    vectors.append(vector)
                    if notes:
                        noted.append((number, notes))
            if len(problems) >= _MAX_PROBLEMS:
                break
        if problems:
            raise RequestProblem(422, _summary(problems), problems[:_MAX_PROBLEMS])
        # a column that is not the model's is told once, however many rows have it
        warnings = [Warning(name, "unknown", _MESSAGES["unknown"]) for name in unknown]
        if not single:
            return self._batch(vectors, noted, warnings, request_id)
        self.counts.rows += 1
        for _, notes in noted:
            warnings += self._warnings(notes)
        prediction, beside = self._answer(self.engine.run_one(vectors[0]))
        return self._encode(self._one_form(prediction, beside, *self._model, request_id, warnings))

    def _rows_of(self, content: Any) -> list[Any]:
        if isinstance(content, list):
            return content
        if not isinstance(content, dict):
            raise RequestProblem(
                422, "send one row as an object, rows as a list of objects, or columns of lists"
            )
        if not _is_columns(content):
            return [content]
        lengths = {len(cells) for cells in content.values()}
        if len(lengths) > 1:
            raise RequestProblem(422, "the columns have different lengths: each needs every row")
        return [
            dict(zip(content, cells, strict=True)) for cells in zip(*content.values(), strict=True)
        ]


def _check_keys(body: bytes) -> None:
    """Refuse a key that stands twice in one object, which decoders take for its last value.

    The quotation marks of a row in which every column is there, known and not blank are counted
    beforehand: two a column and two a text cell. A repeated key only adds to them, so that the
    short way looks at the body in full only where there are more, or where it noticed something.
    """
    try:
        # numbers stay texts: an unused column may hold one that Python would not read
        json.loads(body, object_pairs_hook=_unique_keys, parse_int=str, parse_float=str)
    except _RepeatedKey:
        raise RequestProblem(400, "a column stands twice in one row: send each once") from None
    except (ValueError, RecursionError):
        raise RequestProblem(400, "the body is nested too deeply") from None


class _RepeatedKey(Exception):  # noqa: N818 (a signal within this file)
    pass


def _unique_keys(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise _RepeatedKey


def _is_columns(content: dict[str, Any]) -> bool:
    return bool(content) and all(isinstance(cells, list) for cells in content.values())


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


def _place(refusal: Exception) -> tuple[str | None, int | None]:
    """Column and row in a refusal's `$[row].column` or `$.column`."""
    path = re.search(r" - at `\$(?:\[(\d+)\])?(?:\.([^`]*))?`", str(refusal), re.DOTALL)
    if path is None:
        return None, None
    return path[2], int(path[1]) if path[1] else None


def _summary(problems: list[Problem]) -> str:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{problems[0]}{more}; see errors, and GET /contract for what the model takes"


def _malformed(body: bytes, error: msgspec.DecodeError) -> str:
    if not body.strip():
        return "the body is empty: send one row as a JSON object"
    if body[:3] == b"\xef\xbb\xbf" or body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "the body starts with a byte order mark: send plain UTF-8"
    return f"the body is not valid JSON: {error}"
