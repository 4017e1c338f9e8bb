"""KServe's V1 protocol (https://kserve.github.io/website/docs/concepts/architecture/data-plane)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from roadworthy.serve.dialects._base import (
    Servable,
    error_refusal,
    json_body,
    json_response,
    read_instances,
    results,
)
from roadworthy.serve.messages import Request, Response
from roadworthy.serve.problems import RequestProblem
from roadworthy.serve.routes import Route


class KServe:
    """`{"instances": [...]}` -> `{"predictions": [...]}`."""

    name = "kserve"

    def routes(self, model: Servable, *, first: bool) -> Iterable[tuple[str, Route]]:
        """`/v1/models/NAME` and `/v1/models/NAME:predict`."""
        path = f"/v1/models/{model.name}"
        yield (
            f"{path}:predict",
            Route("POST", partial(predict_instances, model), "predict", error_refusal),
        )
        yield path, Route("GET", partial(_ready, model), "open", error_refusal)


async def predict_instances(model: Servable, request: Request) -> Response:
    """Answer `{"instances": [...], "parameters": {...}}`, which Vertex speaks too."""
    predictor = model.choose(request)
    content = json_body(request, predictor)
    if "instances" not in content:
        raise RequestProblem(400, "instances is missing: send a list of rows")
    encoded = await read_instances(predictor.reader, content["instances"])
    batch = await predictor.batch(encoded, request.id)
    return json_response(
        request, {"predictions": results(predictor, batch, content.get("parameters"))}
    )


def _ready(model: Servable, request: Request) -> Response:
    return json_response(request, {"name": model.name, "ready": True})
