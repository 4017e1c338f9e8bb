"""What `/openapi.json` says of the dialects: their addresses, forms and refusals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from roadworthy.serve.problems import MEDIA_TYPE, TITLES

_ROW = {"$ref": "#/components/schemas/Row"}
_ANSWERS: dict[str, Any] = {"type": "array"}
_CODES = (400, 401, 403, 404, 408, 411, 413, 415, 429, 503)


def dialect_paths(name: str, names: list[str], dialects: Iterable[str]) -> dict[str, Any]:
    """The addresses of a model in the dialects that are spoken.

    Args:
        name: The model.
        names: Its columns.
        dialects: Names as in `[serve] dialects`.
    """
    rows = _list(_ROW)
    cells = _list({"type": "array", "minItems": len(names), "maxItems": len(names)})
    of = {
        "invocations": _invocations,
        "inference": _inference,
        "kserve": _kserve,
        "azure": _azure,
    }
    paths: dict[str, Any] = {}
    for dialect in dialects:
        if dialect in of:
            paths |= of[dialect](name, names, rows, cells)
    return paths


def _invocations(name: str, names: list[str], rows: Any, cells: Any) -> dict[str, Any]:
    split = _object({"columns": {"const": names}, "data": cells})
    forms = {
        "dataframe_split": split,
        "dataframe_records": rows,
        "instances": {"anyOf": [rows, cells]},
        "inputs": {"anyOf": [rows, cells]},
    }
    content = {
        "application/json": {"schema": {"oneOf": [_object({k: v}) for k, v in forms.items()]}},
        "text/csv": {},
        "application/jsonlines": {},
    }
    refusal = _object({"error_code": {"type": "string"}, "message": {"type": "string"}})
    answer = _object({"predictions": _ANSWERS})
    found = {"application/json": {"schema": answer}, "text/csv": {}, "application/jsonlines": {}}
    operation = _post("invocations", "MLflow's and SageMaker's way.", content, found, refusal)
    plain: dict[str, Any] = {"text/plain": {}}
    return {
        "/invocations": operation,
        f"/endpoints/{name}/invocations": _named(operation, "endpoint"),
        "/ping": _get("ping", "Health, for SageMaker and MLflow.", plain),
        "/health": _get("health", "Health, for MLflow.", plain),
        "/version": _get("version", "Version of Roadworthy.", plain, is_open=False),
    }


def _inference(name: str, names: list[str], rows: Any, cells: Any) -> dict[str, Any]:
    tensor = _object(
        {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"type": "string"},
            "data": {"type": "array"},
        },
        required=["name", "shape", "datatype"],
    )
    body = _object({"id": {"type": "string"}, "inputs": _list(tensor)}, required=["inputs"])
    answer = _object(
        {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": _list(tensor),
        }
    )
    forms = {"application/json": {"schema": body}, "application/octet-stream": {}}
    found = {"application/json": {"schema": answer}, "application/octet-stream": {}}
    json_only: dict[str, Any] = {"application/json": {}}
    root = f"/v2/models/{name}"
    return {
        f"{root}/infer": _post("infer", "Open Inference Protocol v2.", forms, found, _ERROR),
        root: _get("inferenceMetadata", "Tensors of the model.", json_only),
        f"{root}/ready": _get("inferenceModelReady", "Whether the model answers.", json_only),
        "/v2": _get("inferenceServer", "Name and extensions of the server.", json_only),
        "/v2/health/live": _get("inferenceLive", "Whether the process is up.", json_only),
        "/v2/health/ready": _get("inferenceReady", "Whether it answers.", json_only),
    }


def _kserve(name: str, names: list[str], rows: Any, cells: Any) -> dict[str, Any]:
    body = _object({"instances": {"anyOf": [rows, cells]}})
    answer = {"application/json": {"schema": _object({"predictions": _ANSWERS})}}
    forms = {"application/json": {"schema": body}}
    root = f"/v1/models/{name}"
    return {
        f"{root}:predict": _post("kservePredict", "KServe's V1 way.", forms, answer, _ERROR),
        root: _get("kserveReady", "Whether the model answers.", {"application/json": {}}),
    }


def _azure(name: str, names: list[str], rows: Any, cells: Any) -> dict[str, Any]:
    split = _object({"columns": {"const": names}, "data": cells})
    forms = {
        "input_data": {"anyOf": [split, rows, cells]},
        "Inputs": {"anyOf": [_object({"data": {"anyOf": [rows, cells]}}), rows]},
        "data": {"anyOf": [rows, cells]},
    }
    body = {"oneOf": [_object({form: schema}) for form, schema in forms.items()]}
    answer = {"anyOf": [_ANSWERS, _object({"Results": _ANSWERS})]}
    content = {"application/json": {"schema": body}}
    found = {"application/json": {"schema": answer}}
    refusal = _object({"message": {"type": "string"}})
    return {"/score": _post("score", "Azure ML's way.", content, found, refusal)}


def refusals(*codes: int) -> dict[str, Any]:
    """Problem documents."""
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        str(code): {"description": TITLES[code], "content": {MEDIA_TYPE: problem}} for code in codes
    }


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    names = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": names}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


_ERROR = _object({"error": {"type": "string"}})


def _get(
    name: str, summary: str, content: dict[str, Any], *, is_open: bool = True
) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": {"description": summary, "content": content}}
    about = {"operationId": name, "summary": summary, "responses": answers}
    if is_open:
        return {"get": {**about, "security": []}}
    return {"get": {**about, "responses": answers | refusals(401, 403, 429)}}


def _post(name: str, summary: str, body: Any, answer: Any, refusal: Any) -> dict[str, Any]:
    refused = {"description": "Refused.", "content": {"application/json": {"schema": refusal}}}
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "requestBody": {"required": True, "content": body},
            "responses": {
                "200": {"description": "The predictions.", "content": answer},
                **{str(code): refused for code in _CODES},
            },
        }
    }


def _named(path: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The same operation at another address."""
    name = path["post"]["operationId"].capitalize()
    return {"post": {**path["post"], "operationId": f"{prefix}{name}"}}
