"""`/invocations`: MLflow's scoring server and SageMaker's container contract share the address.

MLflow (https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally): JSON with one of
`dataframe_split`, `dataframe_records`, `instances`, `inputs`, or CSV with a header; the answer is
`{"predictions": [...]}`. SageMaker (docs: "Use Your Own Inference Code with Hosting Services"):
any type; here CSV, by custom without a header, and JSON lines, answered in the type that `Accept`
asks for.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec

import roadworthy
from roadworthy.serve.bodies import BodyReader, check_keys, parse_json
from roadworthy.serve.columns import Encoded
from roadworthy.serve.dialects._base import (
    Servable,
    full_detail,
    plain_body,
    read_columns,
    read_instances,
    read_split,
    refusal_as,
    results,
)
from roadworthy.serve.formats import (
    CSV_TYPES,
    LINES_TYPES,
    csv_delimiter,
    is_json,
    media_type,
    read_body,
    read_csv,
)
from roadworthy.serve.messages import JSON, Request, Response
from roadworthy.serve.predictions import Predictor
from roadworthy.serve.problems import RequestProblem
from roadworthy.serve.routes import Route

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


class Invocations:
    """MLflow and SageMaker."""

    name = "invocations"

    def routes(self, model: Servable, *, first: bool) -> Iterable[tuple[str, Route]]:
        """`/invocations`, by name as clients of SageMaker's runtime ask, and MLflow's health."""
        invoke = Route("POST", partial(_invoke, model), "predict", _refusal)
        yield f"/endpoints/{model.name}/invocations", invoke
        if not first:
            return
        yield "/invocations", invoke
        for path in ("/ping", "/health"):
            yield path, Route("GET", lambda _: Response(200, b"\n", "text/plain"), "open")
        version = roadworthy.__version__.encode()
        yield "/version", Route("GET", lambda _: Response(200, version, "text/plain"))


async def _invoke(model: Servable, request: Request) -> Response:
    predictor = model.choose(request)
    reader = predictor.reader
    header = request.head.headers.get("content-type")
    essence, parameters = media_type(header)
    body = plain_body(request, predictor)
    asked: Any = None
    if is_json(essence, parameters):
        encoded, asked = await _read_json(reader, body)
    elif essence in CSV_TYPES:
        named = "header=absent" not in parameters and _names_columns(reader, body)
        encoded = await read_csv(reader, body, header=named)
    else:
        encoded = (await read_body(reader, body, header, predictor.max_body)).encoded
    batch = await predictor.batch(encoded, request.id)
    return _respond(request, predictor, results(predictor, batch, asked), essence)


async def _read_json(reader: BodyReader, body: bytes) -> tuple[Encoded, Any]:
    content = parse_json(body)
    check_keys(body)
    if not isinstance(content, dict):
        raise RequestProblem(400, f"the body must be an object with one of {', '.join(_FORMS)}")
    found = [form for form in _FORMS if form in content]
    if len(found) != 1 or set(content) - {*found, "params", "signature_name"}:
        raise RequestProblem(400, f"send exactly one of {', '.join(_FORMS)}, and params if need be")
    rows, asked = content[found[0]], content.get("params")
    if found[0] == "dataframe_split":
        if not isinstance(rows, dict) or set(rows) - {"columns", "data", "index"}:
            raise RequestProblem(400, "dataframe_split holds columns, data and maybe index")
        return await read_split(reader, rows.get("columns"), rows.get("data")), asked
    if isinstance(rows, dict) and found[0] == "inputs":
        if any(isinstance(cells, list) for cells in rows.values()):
            return await read_columns(reader, rows), asked
        return await reader.mappings([rows]), asked
    return await read_instances(reader, rows), asked


def _names_columns(reader: BodyReader, body: bytes) -> bool:
    """Whether the first line of a CSV names columns: one of the model's is enough."""
    first = body.partition(b"\n")[0].decode("utf-8-sig", errors="replace")
    try:
        delimiter = csv_delimiter(reader, first, header=True)
        cells = next(csv.reader([first.strip()], delimiter=delimiter), [])
    except csv.Error:
        return False
    return bool({cell.strip() for cell in cells} & set(reader.contract.names))


def _respond(request: Request, predictor: Predictor, found: list[Any], essence: str) -> Response:
    wanted = media_type(request.head.headers.get("accept"))[0]
    headers = (("x-request-id", request.id),)
    if wanted in CSV_TYPES:
        out = io.StringIO()
        rows = (row if isinstance(row, list) else [row] for row in found)
        csv.writer(out, lineterminator="\n").writerows(rows)
        return Response(200, out.getvalue().encode(), "text/csv; charset=utf-8", headers)
    if wanted in LINES_TYPES or (essence in LINES_TYPES and wanted in ("", "*/*")):
        lines = b"".join(msgspec.json.encode({"prediction": row}) + b"\n" for row in found)
        return Response(200, lines, wanted if wanted in LINES_TYPES else essence, headers)
    return Response(200, msgspec.json.encode({"predictions": found}), JSON, headers)


def _refusal(problem: RequestProblem, request_id: str) -> Response:
    content = {"error_code": "BAD_REQUEST", "message": full_detail(problem)}
    if problem.status in (401, 403):
        content["error_code"] = "UNAUTHENTICATED" if problem.status == 401 else "PERMISSION_DENIED"
    return refusal_as(problem, request_id, content)
