"""`POST /feedback`: what turned out to be true, kept until monitoring collects it.

A label is answered with 202 only when it lies on the disk. Labels that arrive while the disk is
busy are written together with one sync (group commit), so that many small requests cost few syncs;
all of it happens in a thread, away from predictions.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.errors import OutsideError, Problem
from roadworthy.project import ServeSection
from roadworthy.serve.decompress import decompress
from roadworthy.serve.messages import Request, Response
from roadworthy.serve.problems import RequestProblem

_SEGMENT_BYTES = 64_000_000
_WAITING_BYTES = 8_000_000
_AT_ONCE = 10_000
_FULL = "labels cannot be kept now: send them again later"


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What turned out to be true of one predicted row.

    Attributes:
        request_id: The request's id, from its answer.
        label: The class or the number.
        row: The row's place in its request, from 0.
        time: When it became known, seconds since 1970 or ISO 8601; a later one corrects an
            earlier one. None is now.
    """

    request_id: str
    label: bool | int | float | str
    row: int = 0
    time: float | str | None = None


class FeedbackLog:
    """Keeps the labels that a worker is sent, in files of JSON lines.

    Args:
        options: `[serve]`: `feedback_folder`, `max_body_mb`.

    Raises:
        OutsideError: The folder cannot be had.
    """

    def __init__(self, options: ServeSection) -> None:
        self._folder = Path(str(options.feedback_folder))
        self._max_body = int(options.max_body_mb * 1e6)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._bytes = 0
        self._writing: asyncio.Task[None] | None = None
        self._file = -1
        self._size = 0
        self._number = 0
        self.kept = 0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            what = f"the folder for feedback cannot be had: {error.strerror}"
            raise OutsideError(what, where=str(self._folder)) from None

    async def answer(self, request: Request) -> Response:
        """Keep the labels of a request; raises RequestProblem."""
        coding = request.head.headers.get("content-encoding", "").lower()
        labels = read_labels(decompress(request.body, coding, self._max_body), time.time())
        lines = b"".join(msgspec.json.encode(label) + b"\n" for label in labels)
        if lines:
            await self._keep(lines)
        self.kept += len(labels)
        content = {"accepted": len(labels), "request_id": request.id}
        headers = (("x-request-id", request.id),)
        return Response(202, msgspec.json.encode(content), headers=headers)

    def close(self) -> None:
        """Let go of the file; everything that was answered lies in it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    async def _keep(self, lines: bytes) -> None:
        if self._bytes + len(lines) > max(_WAITING_BYTES, self._max_body * 2):
            raise RequestProblem(503, _FULL, headers=(("retry-after", "1"),))
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._bytes += len(lines)
        self._waiting.append((lines, done))
        if self._writing is None or self._writing.done():
            self._writing = loop.create_task(self._write_waiting())
        await done

    async def _write_waiting(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            content = b"".join(lines for lines, _ in group)
            self._bytes -= len(content)
            try:
                await asyncio.to_thread(self._append, content)
            except OSError:
                problem = RequestProblem(503, _FULL, headers=(("retry-after", "5"),))
                for _, done in group:
                    if not done.done():
                        done.set_exception(problem)
                continue
            for _, done in group:
                if not done.done():  # its client may have gone
                    done.set_result(None)

    def _append(self, content: bytes) -> None:
        """Append and sync; what a full disk cut short is taken back."""
        if self._file < 0 or self._size > _SEGMENT_BYTES or not os.fstat(self._file).st_nlink:
            self._begin()
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(self._file, view) :]
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(content)

    def _begin(self) -> None:
        self.close()
        self._number += 1
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        file = self._folder / f"labels-{moment}-{os.getpid()}-{self._number}.jsonl"
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        self._size = os.fstat(self._file).st_size


def read_labels(body: bytes, now: float) -> list[Label]:
    """The labels in a body: one object or a list of them.

    Args:
        body: JSON.
        now: The time of labels that name none.

    Raises:
        RequestProblem: The body is no JSON (400), or labels are wrong (422) or too many (413).
    """
    try:
        content: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RequestProblem(400, "the body is not JSON") from None
    entries = content if isinstance(content, list) else [content]
    if len(entries) > _AT_ONCE:
        raise RequestProblem(413, f"send at most {_AT_ONCE} labels at once")
    labels, problems = [], []
    for number, entry in enumerate(entries):
        try:
            label = msgspec.convert(entry, Label, strict=True)
            labels.append(check_label(label, now))
        except msgspec.ValidationError as error:
            reason, _, place = str(error).partition(" - at `$.")
            problems.append(Problem(reason, place.rstrip("`") or None, number))
        except ValueError as error:
            problems.append(Problem(str(error), None, number))
    if problems:
        raise RequestProblem(422, "labels are wrong: none was kept", problems[:100])
    return labels


def check_label(label: Label, now: float) -> Label:
    """A label with its time in seconds.

    Raises:
        ValueError: Something of it cannot be; the message says what.
    """
    if not 0 < len(label.request_id) <= 200 or "\0" in label.request_id:
        raise ValueError("request_id must have 1 to 200 characters")
    if not 0 <= label.row < 2**31:
        raise ValueError("row must be 0 or more")
    value = label.label
    if isinstance(value, str) and not (0 < len(value) <= 10_000 and "\0" not in value):
        raise ValueError("label must have 1 to 10,000 characters")
    if isinstance(value, (int, float)) and not (math.isfinite(value) and abs(value) < 1e300):
        raise ValueError("label must be finite")
    return Label(label.request_id, value, label.row, _seconds(label.time, now))


def _seconds(moment: float | str | None, now: float) -> float:
    if moment is None:
        return now
    if isinstance(moment, str):
        try:
            read = datetime.fromisoformat(moment)
        except ValueError:
            raise ValueError("time must be seconds since 1970 or ISO 8601") from None
        moment = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    if not 0 <= moment <= 4_102_444_800:  # the year 2100
        raise ValueError("time must lie between 1970 and 2100")
    return float(moment)
