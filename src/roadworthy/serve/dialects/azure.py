"""Azure Machine Learning's online endpoints: `/score`.

The forms are those of its no-code deployments (`input_data`, answered by a plain list), of
automated ML (`Inputs`, answered by `Results`) and of its older scripts (`data`).
Source: https://learn.microsoft.com/azure/machine-learning/how-to-deploy-mlflow-models-online-endpoints.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from roadworthy.serve.bodies import BodyReader
from roadworthy.serve.columns import Encoded
from roadworthy.serve.dialects._base import (
    Servable,
    full_detail,
    json_body,
    json_response,
    read_instances,
    read_split,
    refusal_as,
    results,
)
from roadworthy.serve.messages import Request, Response
from roadworthy.serve.problems import RequestProblem
from roadworthy.serve.routes import Route

_FORMS = ("input_data", "Inputs", "data")


class Azure:
    """`/score`."""

    name = "azure"

    def routes(self, model: Servable, *, first: bool) -> Iterable[tuple[str, Route]]:
        """`/score`; for liveness and readiness name `/livez` and `/readyz` in the deployment."""
        if first:
            yield "/score", Route("POST", partial(_score, model), "predict", _refusal)


async def _score(model: Servable, request: Request) -> Response:
    predictor = model.choose(request)
    content = json_body(request, predictor)
    found = [form for form in _FORMS if form in content]
    if len(found) != 1 or set(content) - {*found, "params", "GlobalParameters"}:
        raise RequestProblem(400, f"send exactly one of {', '.join(_FORMS)}")
    encoded = await _read(predictor.reader, content[found[0]])
    asked = content.get("params", content.get("GlobalParameters"))
    batch = await predictor.batch(encoded, request.id)
    answers = results(predictor, batch, asked)
    return json_response(request, {"Results": answers} if found[0] == "Inputs" else answers)


async def _read(reader: BodyReader, rows: Any) -> Encoded:
    if isinstance(rows, dict) and "columns" in rows and "data" in rows:
        return await read_split(reader, rows["columns"], rows["data"])
    if isinstance(rows, dict) and set(rows) == {"data"}:
        return await read_instances(reader, rows["data"])
    return await read_instances(reader, rows)


def _refusal(problem: RequestProblem, request_id: str) -> Response:
    return refusal_as(problem, request_id, {"message": full_detail(problem)})
