"""Who is asked: a bundle in this process, or a server over HTTP."""

from __future__ import annotations

import http.client
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
import numpy as np
import polars as pl

from roadworthy.bundle import Bundle
from roadworthy.bundle.frames import json_rows
from roadworthy.contract import Target
from roadworthy.errors import InputError, OutsideError, Problem, RowsError
from roadworthy.evaluate.resample import Floats

_AT_ONCE = 500
_SECONDS = 30.0
TOKEN = "ROADWORTHY_TOKEN"
"""Variable that holds the bearer token of a locked server; never an argument, which others see."""

Row = Mapping[str, Any]


class Subject(Protocol):
    """What is tested."""

    place: str

    def answers(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Answers to rows of JSON values; RowsError when they are refused."""
        ...

    def milliseconds(self, rows: Sequence[Row]) -> list[float]:
        """Wall time of each row, asked alone."""
        ...

    def version(self) -> str | None:
        """The version that answers, where it says so."""
        ...


class InProcess:
    """A bundle in this process."""

    place = "in process"

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def answers(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """See `Subject`."""
        found: list[dict[str, Any]] = self.bundle.predict(list(rows))
        return found

    def milliseconds(self, rows: Sequence[Row]) -> list[float]:
        """From JSON bytes to scores, as a server's process spends it on one row."""
        engine = self.bundle.engine
        bodies = [msgspec.json.encode(row) for row in rows]
        taken = []
        for number, body in enumerate([*bodies[:50], *bodies]):
            start = time.perf_counter()
            engine.run_one(engine.rows.encode(engine.decode(body))[0])
            if number >= len(bodies[:50]):
                taken.append((time.perf_counter() - start) * 1e3)
        return taken

    def version(self) -> str | None:
        """See `Subject`."""
        return self.bundle.version


class _TooLargeError(OutsideError):
    """A request with more than the server takes at once."""


class OverHttp:
    """A server that serves a bundle.

    With a bundle, the address of that very version is asked where the server has it, so that a
    canary beside it does not answer in its place; else `/predict`.

    Args:
        url: Its address, `http://HOST:PORT`, with or without a path before `/predict`.
        token: Bearer token; None takes `ROADWORTHY_TOKEN` of the environment, if any.
        bundle: The version that is meant; None: whichever answers.

    Raises:
        InputError: The address is none.
    """

    def __init__(self, url: str, token: str | None = None, bundle: Bundle | None = None) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise InputError(
                "this is no address of a server", where=url, fix="write http://HOST:PORT"
            )
        self.place = f"{parts.scheme}://{parts.hostname}" + (f":{port}" if port else "")
        self._host, self._port, self._secure = parts.hostname, port, parts.scheme == "https"
        root = parts.path.rstrip("/").removesuffix("/predict")
        self._paths = [f"{root}/predict"]
        if bundle is not None and "/versions/" not in root:
            self._paths.append(f"{_of_version(root, bundle)}/predict")
        self._token = token if token is not None else os.environ.get(TOKEN)
        self._connection: http.client.HTTPConnection | None = None
        self._version: str | None = None

    def answers(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """See `Subject`; a single row is sent alone, more in lists."""
        if len(rows) == 1:
            return [self._ask(rows[0])]
        found: list[dict[str, Any]] = []
        for start in range(0, len(rows), _AT_ONCE):
            found += self._together(list(rows[start : start + _AT_ONCE]))
        return found

    def _together(self, rows: list[Row]) -> list[dict[str, Any]]:
        """Answers to rows in one request, or in smaller ones where the server takes no more."""
        try:
            found: list[dict[str, Any]] = self._ask(rows)["predictions"]
        except _TooLargeError:
            if len(rows) < 2:
                raise
            half = len(rows) // 2
            return self._together(rows[:half]) + self._together(rows[half:])
        return found

    def milliseconds(self, rows: Sequence[Row]) -> list[float]:
        """From sending a request to its answer, on one connection that stays open."""
        taken = []
        for row in [*rows[:20], *rows]:
            start = time.perf_counter()
            self._ask(row)
            taken.append((time.perf_counter() - start) * 1e3)
        return taken[len(rows[:20]) :]

    def version(self) -> str | None:
        """The version that the last answer named."""
        return self._version

    def _ask(self, content: Any) -> Any:
        status, body = self._send(msgspec.json.encode(content))
        # a server or a gateway that does not know that version by its name
        if status in (403, 404, 405) and len(self._paths) > 1:
            self._paths.pop()
            return self._ask(content)
        try:
            document = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            document = {}
        if status == 200 and isinstance(document, dict):
            good = "prediction" in document or "predictions" in document
            if good:
                self._version = document.get("version")
                return document
        if status == 422 and isinstance(document, dict):
            raise RowsError(_problems(document))
        raise self._refusal(status, document if isinstance(document, dict) else {})

    def _send(self, body: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        for attempt in range(2):
            fresh = self._connection is None
            connection = self._connection or self._connect()
            self._connection = connection
            try:
                connection.request("POST", self._paths[-1], body, headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._connection = None
                if fresh or attempt:  # one that was kept open may have been closed meanwhile
                    raise OutsideError(
                        f"the server cannot be reached: {error or type(error).__name__}",
                        where=self.place,
                        fix="start it, or correct --url",
                    ) from None
        raise AssertionError("unreachable")

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=_SECONDS, context=context
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=_SECONDS)

    def _refusal(self, status: int, document: dict[str, Any]) -> OutsideError:
        detail = document.get("detail") or document.get("title") or "no Roadworthy answer"
        if status == 413:
            return _TooLargeError(f"the server answered 413: {detail}", where=self.place)
        fix = "look at the server's log"
        if status in (401, 403):
            fix = f"give its token in the variable {TOKEN}"
        elif status == 404:
            fix = "--url names the server, without /predict or with the path before it"
        return OutsideError(f"the server answered {status}: {detail}", where=self.place, fix=fix)


def _of_version(root: str, bundle: Bundle) -> str:
    manifest = bundle.manifest
    model = f"/models/{manifest.name}"
    return f"{root.removesuffix(model)}{model}/versions/{manifest.short_version}"


def _problems(document: dict[str, Any]) -> list[Problem]:
    listed = document.get("errors")
    found = []
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict):
            reason = str(entry.get("reason") or entry.get("detail") or "refused")
            found.append(Problem(reason, entry.get("column"), entry.get("row")))
    return found or [Problem(str(document.get("detail", "refused")))]


def answer_scores(answers: Sequence[dict[str, Any]], target: Target) -> Floats:
    """Probabilities `[N, K]` or predictions `[N]` of answers.

    Raises:
        OutsideError: An answer has another form than the contract's target asks for.
    """
    try:
        if target.task == "regression":
            return np.array([answer["prediction"] for answer in answers], dtype=np.float64)
        names = target.class_names
        rows = [[answer["probabilities"][name] for name in names] for answer in answers]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    except (KeyError, TypeError, ValueError):
        raise OutsideError(
            "the answers are not this model's: other classes or another task",
            fix="test the server with the bundle that it serves",
        ) from None


def subject_scores(subject: Subject, bundle: Bundle, frame: pl.DataFrame) -> Floats:
    """Ask a subject for typed rows, the way that a client sends them."""
    rows = json_rows(frame, bundle.contract)
    return answer_scores(subject.answers(rows), bundle.contract.target)
