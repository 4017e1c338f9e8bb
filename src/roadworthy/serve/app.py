"""The HTTP application: six fixed routes on Granian's RSGI interface.

The way of a request is read top to bottom in `__rsgi__`: route, read the body within its limit,
answer or turn a RequestProblem into its document. No framework stands between.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import secrets
import traceback
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST

from roadworthy.bundle import Bundle
from roadworthy.contract import Contract
from roadworthy.project import ServeSection
from roadworthy.serve.metrics import ServerMetrics
from roadworthy.serve.openapi import openapi
from roadworthy.serve.pages import docs_page
from roadworthy.serve.predictions import Predictor
from roadworthy.serve.problems import MEDIA_TYPE, RequestProblem

log = logging.getLogger("roadworthy.serve")
_JSON = "application/json"
_JSON_HEADER = ("content-type", _JSON)
_PROBLEM_HEADER = ("content-type", MEDIA_TYPE)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
)


class Page(NamedTuple):
    """An answer to a GET: made when it is asked for."""

    media: str
    content: Callable[[], bytes]
    headers: tuple[tuple[str, str], ...] = ()


class App:
    """Serves one bundle.

    Args:
        bundle: The bundle, verified.
        options: `[serve]`.
        share: Folder in which several workers share their counts.

    Raises:
        CheckFailed: A golden row is answered wrong: such a model is never served.
    """

    def __init__(self, bundle: Bundle, options: ServeSection, share: Path | None = None) -> None:
        self.bundle = bundle
        self.predictor = Predictor(bundle, options.max_rows)
        self._check_golden()
        self.metrics = ServerMetrics(bundle, self.predictor.counts, share)
        self.max_body = int(options.max_body_mb * 1_000_000)
        self._ids = map("{}-{:x}".format, itertools.repeat(secrets.token_hex(6)), itertools.count())
        description = openapi(bundle, options.max_rows)
        self.pages = {
            "/livez": Page(_JSON, lambda: b'{"status":"live"}'),
            "/readyz": Page(_JSON, lambda: b'{"status":"ready"}'),
            "/metadata": Page(_JSON, _constant(_metadata(bundle))),
            "/contract": Page(_JSON, _constant(_contract(bundle.contract, bundle.absent))),
            "/openapi.json": Page(_JSON, _constant(description)),
            "/metrics": Page(CONTENT_TYPE_LATEST, self.metrics.render),
            "/docs": Page(
                "text/html; charset=utf-8",
                lambda: docs_page(bundle),
                (("content-security-policy", _PAGE_POLICY), ("x-content-type-options", "nosniff")),
            ),
        }

    def _check_golden(self) -> None:
        """Ask for the golden rows by the very way that requests take, alone and together."""
        rows = [golden.row for golden in self.bundle.golden]
        ask = Predictor(self.bundle, len(rows))
        self.bundle.check_answers(
            [msgspec.json.decode(ask(msgspec.json.encode(row), "golden")) for row in rows]
        )
        if rows:
            together = msgspec.json.decode(ask(msgspec.json.encode(rows), "golden"))
            self.bundle.check_answers(together["predictions"])

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Granian calls this when a worker starts."""
        if self.metrics.folder is not None:
            self._share_counts(loop)

    def _share_counts(self, loop: asyncio.AbstractEventLoop) -> None:
        self.metrics.share()
        loop.call_later(1.0, self._share_counts, loop)

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        headers = scope.headers
        given = headers.get("x-request-id")
        request_id = given if given is not None and _REQUEST_ID(given) else next(self._ids)
        path, method = scope.path, scope.method
        route, status = path, 200
        try:
            if path == "/predict" and method == "POST":
                length = _check_headers(headers, self.max_body)
                body = await (protocol() if length else self._chunks(protocol))
                start = perf_counter()
                answer = self.predictor(body, request_id)
                self.metrics.observe(perf_counter() - start)
                reply = [_JSON_HEADER, ("x-request-id", request_id)]
            elif path == "/" and method in ("GET", "HEAD"):
                status, answer, reply = 307, b"", [("location", "/docs")]
            else:
                page = self._page(path, method)
                answer = b"" if method == "HEAD" else page.content()
                reply = [("content-type", page.media), *page.headers]
        except RequestProblem as problem:
            status, answer = problem.status, problem.document(request_id)
            route = path if path == "/predict" or path in self.pages else "other"
            reply = [_PROBLEM_HEADER, ("x-request-id", request_id), *problem.headers]
        except Exception as error:  # the last line of defence: no traceback leaves the process
            if type(error).__name__ == "RSGIProtocolClosed":
                return  # the client went away
            # where, but not what: the message may hold the caller's data
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{frame.filename}:{frame.lineno}"
            log.error("request %s failed: %s at %s", request_id, type(error).__name__, place)
            fault = RequestProblem(500, "an internal error; give the request id to the operator")
            status, answer = 500, fault.document(request_id)
            reply = [_PROBLEM_HEADER, ("x-request-id", request_id)]
        self.metrics.count(route, status)
        protocol.response_bytes(status, reply, answer)

    def _page(self, path: str, method: str) -> Page:
        if path == "/predict":
            raise RequestProblem(405, "send rows by POST", headers=(("allow", "POST"),))
        page = self.pages.get(path)
        if page is None:
            raise RequestProblem(404, f"the addresses are /predict, {', '.join(self.pages)}")
        if method not in ("GET", "HEAD"):
            raise RequestProblem(405, "read this by GET", headers=(("allow", "GET, HEAD"),))
        return page

    async def _chunks(self, protocol: Any) -> bytes:
        """A body of unknown length, read no further than its limit."""
        chunks: list[bytes] = []
        size = 0
        async for chunk in protocol:
            size += len(chunk)
            if size > self.max_body:
                raise _too_large(self.max_body)
            chunks.append(chunk)
        return b"".join(chunks)


def _check_headers(headers: Any, max_body: int) -> int | None:
    """Refuse what the headers alone give away; returns the body's length, if it is told."""
    media = headers.get("content-type")
    if media != _JSON:
        essence = (media or "").split(";")[0].strip().lower()
        charset = (media or "").lower().partition("charset=")[2].strip(' "')
        suffixed = essence.startswith("application/") and essence.endswith("+json")
        if not (essence == _JSON or suffixed) or charset not in ("", "utf-8", "utf8"):
            raise RequestProblem(415, f"send Content-Type: {_JSON} in UTF-8")
    if headers.get("content-encoding") not in (None, "identity"):
        raise RequestProblem(415, "compressed bodies are not taken: leave out Content-Encoding")
    length = headers.get("content-length")
    if length is None or not length.isdigit():
        return None
    if int(length) > max_body:
        raise _too_large(max_body)
    return int(length)


def _too_large(limit: int) -> RequestProblem:
    return RequestProblem(
        413, f"the body is larger than {limit:,} bytes: send fewer rows a request"
    )


def _constant(value: Any) -> Callable[[], bytes]:
    content = msgspec.json.encode(value)
    return lambda: content


def _metadata(bundle: Bundle) -> dict[str, Any]:
    manifest, report = bundle.manifest, bundle.report
    return {
        "name": manifest.name,
        "version": manifest.version,
        "created": manifest.created,
        "task": manifest.task,
        "target": bundle.contract.target.name,
        "classes": manifest.classes,
        "family": manifest.family,
        "environment": manifest.environment,
        "holdout_rows": report["rows"],
        "metrics": report["metrics"],
        "parity": bundle.parity,
        "measured": manifest.measured,
    }


def _contract(contract: Contract, absent: Any) -> dict[str, Any]:
    content = msgspec.to_builtins(contract)
    for column in content["columns"]:  # how often a level stood in the table is nobody's business
        column["categories"] = list(column["categories"])
    return {
        **content,
        "example": contract.example(),
        "schema": contract.json_schema(absent),
    }
