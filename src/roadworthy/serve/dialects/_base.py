"""What a dialect is: routes that read other servers' requests and answer in their form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from roadworthy.errors import Problem
from roadworthy.serve.bodies import BodyReader, check_keys, parse_json, refuse
from roadworthy.serve.columns import Encoded
from roadworthy.serve.decompress import decompress
from roadworthy.serve.formats import is_json, media_type
from roadworthy.serve.messages import JSON, Request, Response
from roadworthy.serve.predictions import Batch, Predictor
from roadworthy.serve.problems import RequestProblem
from roadworthy.serve.routes import Route


class Servable(Protocol):
    """A model as dialects see it."""

    @property
    def name(self) -> str:
        """The model's name."""

    def choose(self, request: Request, version: str | None = None) -> Predictor:
        """The version that answers a request; RequestProblem 404 for an unknown one."""

    def versions(self) -> Sequence[str]:
        """The versions that can be asked for by name."""


class Dialect(Protocol):
    """One way in which other servers are asked."""

    name: str

    def routes(self, model: Servable, *, first: bool) -> Iterable[tuple[str, Route]]:
        """Addresses and routes of a model.

        Args:
            model: The model.
            first: Whether it is the one that answers where no model is named.
        """


def dialect_routes(
    dialects: Iterable[Dialect], models: Sequence[Servable]
) -> Iterable[tuple[str, Route]]:
    """The routes of all dialects for all models."""
    for dialect in dialects:
        for place, model in enumerate(models):
            for path, route in dialect.routes(model, first=place == 0):
                yield path, route._replace(model=model.name)


def plain_body(request: Request, predictor: Predictor) -> bytes:
    """The body, decompressed."""
    coding = request.head.headers.get("content-encoding", "").lower()
    return decompress(request.body, coding, predictor.max_body)


def json_body(request: Request, predictor: Predictor) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        RequestProblem: It is none.
    """
    if not is_json(*media_type(request.head.headers.get("content-type", JSON))):
        raise RequestProblem(415, f"send Content-Type: {JSON} in UTF-8")
    body = plain_body(request, predictor)
    content = parse_json(body)
    check_keys(body)
    if not isinstance(content, dict):
        raise RequestProblem(400, "the body must be a JSON object")
    return content


async def read_instances(reader: BodyReader, instances: Any) -> Encoded:
    """Read rows: objects of column: value, or lists of values in the contract's order.

    Raises:
        RequestProblem: They are neither, or break the contract.
    """
    if not isinstance(instances, list):
        raise RequestProblem(422, "the rows must be a list")
    if instances and all(isinstance(row, list) for row in instances):
        return await read_split(reader, reader.contract.names, instances)
    return await reader.mappings(instances)


async def read_split(reader: BodyReader, names: Any, rows: Any) -> Encoded:
    """Read column names and rows of as many cells; raises as `read_instances`."""
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise RequestProblem(422, "the column names must be a list of texts")
    if len(set(names)) < len(names):
        raise RequestProblem(400, "a column stands twice: send each once")
    if not isinstance(rows, list):
        raise RequestProblem(422, "the rows must be a list")
    reader.check_count(len(rows))
    for number, row in enumerate(rows):
        if not isinstance(row, list):
            refuse([Problem("must be a list of cells", None, number)])
        if len(row) != len(names):
            refuse([Problem(f"has {len(row)} cells, expected {len(names)}", None, number)])
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    return await reader.table(columns)


async def read_columns(reader: BodyReader, columns: Mapping[str, Any]) -> Encoded:
    """Read columns of lists; raises as `read_instances`."""
    for name, cells in columns.items():
        if not isinstance(cells, list):
            refuse([Problem("must be a list of cells", name)])
    return await reader.table(columns)


def results(predictor: Predictor, batch: Batch, parameters: Any) -> list[Any]:
    """What a plain list of predictions holds.

    Args:
        predictor: What answered.
        batch: Its answers.
        parameters: The request's own: `{"predict_method": "predict_proba"}` asks for a list of
            probabilities a row, in the order of the classes; `predict_interval` for the two ends
            of each interval.

    Raises:
        RequestProblem: The parameters ask for something else.
    """
    wanted = {} if parameters is None else parameters
    if not isinstance(wanted, dict) or set(wanted) - {"predict_method"}:
        raise RequestProblem(400, "the one parameter that is known is predict_method")
    method = wanted.get("predict_method", "predict")
    if method == "predict":
        return predictor.predictions(batch)
    if method == "predict_proba" and predictor.target.classes:
        rows: list[Any] = batch.scores.tolist()
        return rows
    interval = predictor.target.interval
    if method == "predict_interval" and interval is not None:
        return [interval.around(number) for number in predictor.predictions(batch)]
    raise RequestProblem(
        400,
        "predict_method is predict, for classes predict_proba, "
        "for a regression with intervals predict_interval",
    )


def json_response(request: Request, content: Any) -> Response:
    """An answer in JSON."""
    return Response(200, msgspec.json.encode(content), JSON, (("x-request-id", request.id),))


def refusal_as(problem: RequestProblem, request_id: str, content: Any) -> Response:
    """A refusal in a dialect's own form; rows that break the contract are 400 in all of them."""
    status = 400 if problem.status == 422 else problem.status
    headers = (("x-request-id", request_id), *problem.headers)
    return Response(status, msgspec.json.encode(content), JSON, headers)


def error_refusal(problem: RequestProblem, request_id: str) -> Response:
    """`{"error": "..."}`, as the Open Inference Protocol, KServe and Vertex have it."""
    return refusal_as(problem, request_id, {"error": full_detail(problem)})


def full_detail(problem: RequestProblem) -> str:
    """The reason with every place, for forms that have one text only."""
    if len(problem.problems) < 2:
        return problem.detail
    return "; ".join(str(one) for one in problem.problems)
