"""The application: routes, and the way of a request through one of them.

The way is read top to bottom in `answer`: find the route, check the method and the caller, hand
the request to the route's handler. No framework stands between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST

from roadworthy.contract import Contract
from roadworthy.errors import InputError
from roadworthy.project import ServeSection
from roadworthy.serve.about import contract_of, metadata, summary
from roadworthy.serve.access_log import AccessLog
from roadworthy.serve.arrow_answers import encode_arrow, wants_arrow
from roadworthy.serve.callers import InFlight
from roadworthy.serve.columns import Encoded
from roadworthy.serve.counting import Counting
from roadworthy.serve.decompress import decompress
from roadworthy.serve.dialects import DIALECTS, dialect_routes
from roadworthy.serve.feedback import FeedbackLog
from roadworthy.serve.formats import STREAM_TYPE, read_body
from roadworthy.serve.guard import Guard
from roadworthy.serve.login import is_own_page, kept, login_page, read_form, wants_page
from roadworthy.serve.messages import JSON, Answer, Request, Response
from roadworthy.serve.metrics import ServerMetrics
from roadworthy.serve.models import Model, Opener, PathPlace, load_model, read_again
from roadworthy.serve.monitoring import monitoring_part
from roadworthy.serve.openapi import openapi
from roadworthy.serve.orders import Orders, Served
from roadworthy.serve.pages import dashboard_page, docs_page
from roadworthy.serve.prediction_log.journal import PredictionLog
from roadworthy.serve.predictions import Batch, Predictor
from roadworthy.serve.problems import RequestProblem
from roadworthy.serve.routes import Route, check_method, constant
from roadworthy.serve.telemetry import Telemetry

_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; form-action 'self'; img-src data:; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_CORS_HEADERS = "authorization, content-type, x-api-key, x-request-id"
_PAGE_HEADERS = (
    ("content-security-policy", _PAGE_POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
)


_NOWHERE = constant(b"")._replace(label="other")


class App:
    """Serves models.

    Args:
        models: The models; the first one answers where none is named.
        options: `[serve]`.
        share: Folder in which several workers share their counts.
        counts: Folder of the windows of what is served, how often they are written, and
            for how many days by the hour.
    """

    def __init__(
        self,
        models: list[Model],
        options: ServeSection,
        share: Path | None = None,
        counts: tuple[Path, float, int] | None = None,
    ) -> None:
        self.models = models
        self.options = options
        self.metrics = ServerMetrics(models, share)
        self.guard = Guard(options)
        self.log = PredictionLog(options) if options.log_folder else None
        self.metrics.log = self.log
        self.logs_in = bool(options.keys or options.jwks or options.oidc)
        self.telemetry = Telemetry(options) if options.otlp else None
        self.feedback = FeedbackLog(options) if options.feedback_folder else None
        self.access = AccessLog() if options.access_log else None
        self.counting = Counting(models, self.metrics, *counts) if counts else None
        self.routes: dict[str, Route] = {}
        self.in_flight = InFlight(options.max_in_flight, options.max_in_flight_client)
        self._background: set[asyncio.Future[Any]] = set()
        self._following = self._logging = self._telling = self._counting = _done()
        self._ticks = 0
        self.lay_routes()

    def lay_routes(self) -> None:
        """Lay the routes anew, when a model has another version."""
        for model in self.models:
            for predictor in model.answering():
                predictor.on_answer = self.log.add if self.log is not None else None
            if model.shadow is not None:
                model.current.on_batch = partial(self._compare, model, model.current.contract)
        if self.counting is not None:
            self.counting.attach()
        routes: dict[str, Route] = {}
        for place, model in enumerate(self.models):
            routes |= self._of_model(model, f"/models/{model.name}")
            if place == 0:
                routes |= self._of_model(model, "")
        live = dashboard_page(closed=self.logs_in)
        dialects = [DIALECTS[name] for name in self.options.dialects]
        routes |= dict(dialect_routes(dialects, self.models))
        routes |= {
            "/": Route("GET", lambda _: _page(live), "metrics"),
            "/livez": constant(b'{"status":"live"}', "open"),
            "/startupz": constant(b'{"status":"started"}', "open"),
            "/readyz": constant(b'{"status":"ready"}', "open"),
            "/models": constant(msgspec.json.encode([summary(one) for one in self.models])),
            "/metrics": Route("GET", self._metrics, "metrics"),
            "/feedback": Route("POST", self._feedback, "predict"),
        }
        if self.logs_in:
            routes["/login"] = Route("POST", self._login, "open")
            routes["/logout"] = Route("POST", self._logout, "open")
        self.routes = routes

    def _of_model(self, model: Model, root: str) -> dict[str, Route]:
        """The native routes of a model, at the root or at its name."""
        bundle, name = model.current.bundle, model.name
        contract = msgspec.json.encode(contract_of(bundle.contract, bundle.absent))
        description = msgspec.json.encode(openapi(bundle, self.options))
        docs = docs_page(bundle, closed=self.logs_in, root=root)
        pages = {
            f"{root}/predict": Route("POST", partial(self._predict, model, None), "predict"),
            f"{root}/metadata": constant(msgspec.json.encode(metadata(bundle))),
            f"{root}/contract": constant(contract),
            f"{root}/openapi.json": constant(description),
            f"{root}/docs": Route("GET", lambda _: _page(docs)),
            f"{root}/monitoring": Route("GET", partial(self._monitoring, name), "metrics"),
            f"{root}/shadow": Route("GET", partial(_verdict, model)),
        }
        if root:
            for version in model.versions():
                handler = partial(self._predict, model, version)
                path = f"{root}/versions/{version}/predict"
                pages[path] = Route("POST", handler, "predict", label=f"{root}/predict")
        return {path: route._replace(model=name) for path, route in pages.items()}

    def answer(self, request: Request) -> Answer:
        """Answer a request; see `Application`."""
        route = self.routes.get(request.head.path)
        if route is None:
            raise RequestProblem(404, "nothing is here: GET /openapi.json lists the addresses")
        try:
            if self.options.cors_origins and request.head.method == "OPTIONS":
                return self._preflight(route, request)
            check_method(route, request)
            caller = self.guard.check(request, route.scope)
            answer = route.handler(request)
            if isinstance(answer, Response):
                return answer
            name = caller.name if caller else self.guard.proxies.client(request)
            try:
                self.in_flight.check(name, caller.in_flight if caller else None)
            except RequestProblem:
                answer.close()
                raise
        except RequestProblem as problem:
            if problem.status in (401, 403) and self.logs_in and wants_page(request):
                return login_page(problem, request, request.head.path, _PAGE_POLICY)
            return self._refuse(route, problem, request)
        return self._later(route, request, answer, name)

    async def _later(
        self, route: Route, request: Request, answer: Coroutine[Any, Any, Response], caller: str
    ) -> Response:
        with self.in_flight.working(caller):
            try:
                return await answer
            except RequestProblem as problem:
                return self._refuse(route, problem, request)

    def _refuse(self, route: Route, problem: RequestProblem, request: Request) -> Response:
        self.refused(route, problem)
        return route.refusal(problem, request.id)

    def refused(self, route: Route, problem: RequestProblem) -> None:
        """Count the cells that a request was refused for."""
        if problem.problems and self.counting is not None:
            self.counting.refused(route, problem)

    def note(self, request: Request | None, response: Response, seconds: float) -> None:
        """Count an answer that was sent."""
        path = request.head.path if request is not None else ""
        self.note_at(self.routes.get(path, _NOWHERE), path, request, response, seconds)

    def note_at(
        self, route: Route, path: str, request: Request | None, response: Response, seconds: float
    ) -> None:
        """Count an answer of a route; `path` is its name where it has no label."""
        name = route.label or path
        if self.access is not None:
            self.access.add(request, name, response, seconds)
        self.metrics.count(route.model, name, response.status)
        if self.telemetry is not None and request is not None:
            self.telemetry.end(request, name, route.model, response.status, seconds)
        if route.model and route.scope == "predict" and response.status == 200:
            self.metrics.observe(route.model, seconds)

    def served(self) -> tuple[Served, ...]:
        """The models, for who started the server."""
        return tuple(
            Served(f"{one.name}:{one.current.short_version}", one.current.contract.example())
            for one in self.models
        )

    def tick(self) -> None:
        """Once a second: share the counts, look whether keys or a model changed."""
        self.metrics.share()
        self.guard.refresh()
        if self.access is not None:
            self.access.flush()
        if self.log is not None and self._logging.done():
            self._logging = self._start(self.log.flush())
        self._ticks += 1
        due = self._ticks % max(1, round(self.options.otlp_seconds)) == 0
        if self.telemetry is not None and due and self._telling.done():
            self._telling = self._start(self.telemetry.flush(self.metrics.tally()))
        if self.counting is not None and self._counting.done() and self.counting.due():
            self._counting = self._start(self.counting.write())
        if self.options.follow and self._following.done():
            self._following = self._start(self._follow())

    def close(self) -> None:
        """The worker ends: what is kept in memory is written."""
        self.metrics.share()
        if self.access is not None:
            self.access.flush()
        if self.log is not None:
            self.log.close()
        if self.telemetry is not None:
            self.telemetry.close(self.metrics.tally())
        if self.counting is not None:
            self.counting.close()
        if self.feedback is not None:
            self.feedback.close()

    async def _follow(self) -> None:
        for model in self.models:
            old = model.current
            if await model.follow():
                self.metrics.retire(model.name, old)
                self.lay_routes()

    def _start(self, work: Any) -> asyncio.Future[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def _predict(self, model: Model, version: str | None, request: Request) -> Answer:
        """One row of JSON at once, everything else in slices."""
        predictor = model.choose(request, version)
        headers = request.head.headers
        plain = headers.get("content-type") == JSON and "content-encoding" not in headers
        if plain and model.shadow is None and not wants_arrow(headers.get("accept")):
            content = predictor.one(request.body, request.id)
            if content is not None:
                return Response(200, content, JSON, (("x-request-id", request.id),))
        return self._predict_slowly(model, predictor, request)

    async def _predict_slowly(
        self, model: Model, predictor: Predictor, request: Request
    ) -> Response:
        headers = request.head.headers
        coding = headers.get("content-encoding", "").lower()
        body = decompress(request.body, coding, predictor.max_body)
        media = headers.get("content-type")
        start = perf_counter()
        encoded, single = await read_body(predictor.reader, body, media, predictor.max_body)
        batch = await predictor.batch(encoded, request.id, single=single, told=False)
        if model.shadow is not None:

            async def again(other: Predictor) -> Encoded:
                # the body, which may hold columns that only the shadow knows
                return (await read_body(other.reader, body, media, other.max_body)).encoded

            self._start(model.compare(again, batch, perf_counter() - start))
        about = (("x-request-id", request.id),)
        if wants_arrow(headers.get("accept")):
            content = await encode_arrow(predictor, batch, request.id)
            return Response(200, content, STREAM_TYPE, about)
        return Response(200, predictor.encode(batch, request.id, single=single), JSON, about)

    def _compare(
        self, model: Model, contract: Contract, encoded: Encoded, batch: Batch, seconds: float
    ) -> None:
        """Ask the shadow what a dialect was asked."""
        self._start(model.compare(partial(read_again, encoded, contract), batch, seconds))

    def _login(self, request: Request) -> Response:
        key, path = read_form(request, self.routes)
        try:
            self.guard.who_has(key)
        except RequestProblem as problem:
            return login_page(problem, request, path, _PAGE_POLICY)
        return kept(key, path, secure=self._is_secure(request))

    def _logout(self, request: Request) -> Response:
        if not is_own_page(request):
            raise RequestProblem(403, "this form was sent by a page of another site")
        return kept("", "/", secure=self._is_secure(request))

    def _is_secure(self, request: Request) -> bool:
        return bool(self.options.tls_certificate) or self.guard.proxies.is_secure(request)

    def _preflight(self, route: Route, request: Request) -> Response:
        """What a browser asks before it lets a page of another origin send."""
        headers = (
            ("access-control-allow-methods", f"{route.method}, OPTIONS"),
            ("access-control-allow-headers", _CORS_HEADERS),
            ("access-control-max-age", "600"),
        )
        return Response(204, b"", "", headers)

    def _feedback(self, request: Request) -> Answer:
        if self.feedback is None:
            raise RequestProblem(404, "this server keeps no labels: set [serve] feedback_folder")
        return self.feedback.answer(request)

    def _monitoring(self, model: str, request: Request) -> Response:
        return monitoring_part(self.counting.store if self.counting else None, model, request)

    def _metrics(self, _: Request) -> Response:
        return Response(200, self.metrics.render(), CONTENT_TYPE_LATEST)


async def load_app(orders: Orders) -> App:
    """Load the application in a worker process.

    Raises:
        InputError: A path is no bundle, or two models have the same name.
        CheckFailed: A bundle is damaged, no trusted key signed it, or a golden row is answered
            wrong.
    """
    options = orders.options
    opener = Opener(options, orders.trusted_keys, orders.trusted_types)
    models = [await load_model(PathPlace(Path(path)), opener) for path in orders.models]
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two models are named {name!r}", fix="serve one of them")
    if options.canary is not None:
        models[0].canary = await opener.open(Path(options.canary))
    if options.shadow is not None:
        models[0].shadow = await opener.open(Path(options.shadow))
    share = Path(orders.share) if orders.share else None
    place = Path(orders.counts) if orders.counts else share and share / "counts"
    counts = (place, orders.counts_seconds, orders.counts_hours_days) if place else None
    return App(models, options, share, counts)


def _done() -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


def _page(content: bytes) -> Response:
    return Response(200, content, "text/html; charset=utf-8", _PAGE_HEADERS)


def _verdict(model: Model, _: Request) -> Response:
    return Response(200, msgspec.json.encode(model.verdict()))
