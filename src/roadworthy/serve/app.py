"""The application: routes, and the way of a request through one of them.

The way is read top to bottom in `answer`: find the route, check the method, hand the request to
the route's handler. No framework stands between.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST

from roadworthy.bundle import Bundle
from roadworthy.contract import Contract
from roadworthy.project import ServeSection
from roadworthy.serve.decompress import decompress
from roadworthy.serve.formats import read_body
from roadworthy.serve.messages import JSON, Answer, Handler, Request, Response
from roadworthy.serve.metrics import ServerMetrics
from roadworthy.serve.openapi import openapi
from roadworthy.serve.orders import Served
from roadworthy.serve.pages import docs_page
from roadworthy.serve.predictions import Predictor
from roadworthy.serve.problems import RequestProblem

_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
)


class Route(NamedTuple):
    """What answers at an address.

    Attributes:
        method: `GET` (then `HEAD` too) or `POST`.
        handler: What answers.
    """

    method: str
    handler: Handler


class App:
    """Serves one bundle.

    Args:
        bundle: The bundle, verified.
        options: `[serve]`.
        share: Folder in which several workers share their counts.
    """

    def __init__(self, bundle: Bundle, options: ServeSection, share: Path | None = None) -> None:
        self.bundle = bundle
        self.predictor = Predictor(bundle, options.max_rows, options.max_text)
        self.max_body = int(options.max_body_mb * 1_000_000)
        self.metrics = ServerMetrics(bundle, self.predictor.counts, share)
        self.routes = {
            "/predict": Route("POST", self._predict),
            "/": Route("GET", lambda _: Response(307, b"", "", (("location", "/docs"),))),
            "/livez": _page(b'{"status":"live"}'),
            "/readyz": _page(b'{"status":"ready"}'),
            "/metadata": _page(msgspec.json.encode(_metadata(bundle))),
            "/contract": _page(msgspec.json.encode(_contract(bundle.contract, bundle.absent))),
            "/openapi.json": _page(msgspec.json.encode(openapi(bundle, options.max_rows))),
            "/metrics": Route("GET", self._metrics),
            "/docs": Route("GET", self._docs),
        }

    def answer(self, request: Request) -> Answer:
        """Answer a request; see `Application`."""
        head = request.head
        route = self.routes.get(head.path)
        if route is None:
            raise RequestProblem(404, f"the addresses are {', '.join(self.routes)}")
        if head.method != route.method and not (head.method == "HEAD" and route.method == "GET"):
            raise _wrong_method(route.method)
        return route.handler(request)

    def note(self, request: Request | None, response: Response, seconds: float) -> None:
        """Count an answer that was sent."""
        path = request.head.path if request is not None else ""
        self.metrics.count(path if path in self.routes else "other", response.status)
        if path == "/predict" and response.status == 200:
            self.metrics.observe(seconds)

    def served(self) -> tuple[Served, ...]:
        """The models, for who started the server."""
        manifest, contract = self.bundle.manifest, self.bundle.contract
        return (Served(f"{manifest.name}:{manifest.short_version}", contract.example()),)

    def tick(self) -> None:
        """Once a second."""
        self.metrics.share()

    def close(self) -> None:
        """The worker ends."""
        self.metrics.share()

    def _predict(self, request: Request) -> Answer:
        """One row of JSON at once, everything else in slices."""
        headers = request.head.headers
        if headers.get("content-type") == JSON and "content-encoding" not in headers:
            content = self.predictor.one(request.body, request.id)
            if content is not None:
                return Response(200, content, JSON, (("x-request-id", request.id),))
        return self._predict_slowly(request)

    async def _predict_slowly(self, request: Request) -> Response:
        headers = request.head.headers
        body = decompress(request.body, headers.get("content-encoding", "").lower(), self.max_body)
        reader = self.predictor.reader
        encoded, single = await read_body(reader, body, headers.get("content-type"), self.max_body)
        batch = await self.predictor.batch(encoded, single=single)
        content = self.predictor.encode(batch, request.id, single=single)
        return Response(200, content, JSON, (("x-request-id", request.id),))

    def _metrics(self, _: Request) -> Response:
        return Response(200, self.metrics.render(), CONTENT_TYPE_LATEST)

    def _docs(self, _: Request) -> Response:
        headers = (("content-security-policy", _PAGE_POLICY), ("x-content-type-options", "nosniff"))
        return Response(200, docs_page(self.bundle), "text/html; charset=utf-8", headers)

    async def check_golden(self) -> None:
        """Ask for the golden rows by the very ways that requests take, alone and together.

        Raises:
            CheckFailed: One is answered wrong: such a model is never served.
        """
        rows = [golden.row for golden in self.bundle.golden]
        ask = Predictor(self.bundle, len(rows) + 1)
        alone = []
        for body in map(msgspec.json.encode, rows):
            answer = ask.one(body, "golden") or await ask.json(body, "golden")
            alone.append(msgspec.json.decode(answer))
        self.bundle.check_answers(alone)
        if rows:
            columns = {name: [row.get(name) for row in rows] for name in rows[0]}
            for together in (rows, columns):
                answer = msgspec.json.decode(
                    await ask.json(msgspec.json.encode(together), "golden")
                )
                self.bundle.check_answers(answer["predictions"])


async def load_app(models: list[str], options: ServeSection, share: str | None) -> App:
    """Load the application in a worker process."""
    bundle = Bundle(models[0], absent=options.absent)
    app = App(bundle, options, Path(share) if share else None)
    await app.check_golden()
    return app


def _page(content: bytes) -> Route:
    return Route("GET", lambda _: Response(200, content))


def _wrong_method(method: str) -> RequestProblem:
    if method == "POST":
        return RequestProblem(405, "send rows by POST", headers=(("allow", "POST"),))
    return RequestProblem(405, "read this by GET", headers=(("allow", "GET, HEAD"),))


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
