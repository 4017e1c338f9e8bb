"""The OpenAPI 3.1 description of the service, typed by the contract's columns."""

from __future__ import annotations

from typing import Any

from roadworthy.bundle import Bundle
from roadworthy.project import ServeSection
from roadworthy.serve.formats import (
    ARROW_TYPES,
    CSV_TYPES,
    LINES_TYPES,
    PARQUET_TYPES,
    STREAM_TYPE,
)
from roadworthy.serve.openapi_dialects import dialect_paths, refusals


def openapi(bundle: Bundle, options: ServeSection) -> dict[str, Any]:
    """Describe the service of one bundle.

    Args:
        bundle: The bundle.
        options: `[serve]`: its limits, its dialects and whether keys are asked for.
    """
    manifest, contract = bundle.manifest, bundle.contract
    closed = options.keys or options.jwks or options.oidc or options.client_ca
    return {
        "openapi": "3.1.0",
        "info": {
            "title": manifest.name,
            "version": manifest.short_version,
            "description": f"Predicts `{contract.target.name}` ({manifest.task}).",
        },
        "paths": {
            "/predict": {"post": _predict(bundle, options)},
            "/livez": {"get": _open("livez", "Whether the process is up.")},
            "/readyz": {
                "get": _open(
                    "readyz",
                    "Whether the model is verified, loaded and answers its golden rows right.",
                )
            },
            "/startupz": {"get": _open("startupz", "Whether the process has started.")},
            "/metadata": {"get": _plain("metadata", "What is served.", "application/json")},
            "/models": {
                "get": _plain("models", "The models and their versions.", "application/json")
            },
            "/shadow": {"get": _plain("shadow", "How the shadow compares.", "application/json")},
            "/contract": {
                "get": _plain("contract", "The columns that the model takes.", "application/json")
            },
            "/metrics": {"get": _plain("metrics", "Prometheus metrics.", "text/plain")},
            "/feedback": {"post": _FEEDBACK},
            "/openapi.json": {"get": _plain("openapi", "This document.", "application/json")},
            "/docs": {"get": _plain("docs", "A page to try predictions.", "text/html")},
            "/monitoring": {
                "get": _plain(
                    "monitoring", "What monitoring wrote of the model.", "text/html", 204, 304
                )
            },
            "/": {"get": _plain("live", "A page of live traffic.", "text/html")},
            **dialect_paths(manifest.name, list(contract.names), options.dialects),
        },
        "security": [{"key": []}, {"bearer": []}] if closed else [],
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
            "schemas": {
                "Row": contract.json_schema(bundle.absent),
                "Answer": _answer(bundle),
                "Warning": _WARNING,
                "Problem": _PROBLEM,
            },
        },
    }


_LABEL = {
    "type": "object",
    "properties": {
        "request_id": {"type": "string", "minLength": 1, "maxLength": 200},
        "row": {"type": "integer", "minimum": 0, "maximum": 2147483647, "default": 0},
        "label": {"type": ["string", "number", "boolean"]},
        "time": {"type": ["number", "string", "null"]},
    },
    "required": ["request_id", "label"],
    "additionalProperties": False,
}
_FEEDBACK = {
    "operationId": "feedback",
    "summary": "What turned out to be true of predicted rows.",
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"anyOf": [_LABEL, {"type": "array", "items": _LABEL}]}}
        },
    },
    "responses": {
        "202": {"description": "The labels lie on the disk."},
        **refusals(400, 401, 403, 404, 413, 415, 422, 429, 503),
    },
}


def _predict(bundle: Bundle, options: ServeSection) -> dict[str, Any]:
    row = {"$ref": "#/components/schemas/Row"}
    contract, max_rows = bundle.contract, options.max_rows
    schema = contract.json_schema(bundle.absent)
    columns = {
        "type": "object",
        "description": "One list a column, all of one length.",
        "properties": {
            name: {"type": "array", "items": cell, "minItems": 1, "maxItems": max_rows}
            for name, cell in schema["properties"].items()
        },
        "additionalProperties": {"type": "array"},
        "minProperties": 1,
        **({"required": schema["required"]} if "required" in schema else {}),
    }
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": max_rows}
    envelope = {
        "model": {"type": "string"},
        "version": {"type": "string"},
        "request_id": {"type": "string"},
        "warnings": {"type": "array", "items": {"$ref": "#/components/schemas/Warning"}},
    }
    answer = {"$ref": "#/components/schemas/Answer"}
    one = {"allOf": [answer], "type": "object", "properties": envelope, "required": [*envelope]}
    many = {
        "type": "object",
        "properties": {"predictions": {"type": "array", "items": answer}, **envelope},
        "required": ["predictions", *envelope],
    }
    return {
        "operationId": "predict",
        "summary": f"Predict {contract.target.name}.",
        "parameters": [
            {
                "name": "X-Request-ID",
                "in": "header",
                "description": "Comes back in the answer: letters, digits, - _ . up to 64.",
                "schema": {"type": "string"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"anyOf": [row, rows, columns]},
                    "examples": {"one row": {"value": contract.example()}},
                },
                **{media: {} for media in (*CSV_TYPES, *LINES_TYPES, *ARROW_TYPES, *PARQUET_TYPES)},
            },
        },
        "responses": {
            "200": {
                "description": "The prediction.",
                "content": {
                    "application/json": {"schema": {"oneOf": [one, many]}},
                    STREAM_TYPE: {},
                },
            },
            **refusals(400, 401, 403, 408, 411, 413, 415, 422, 429, 503),
        },
    }


def _answer(bundle: Bundle) -> dict[str, Any]:
    target = bundle.contract.target
    if target.task == "regression":
        properties: dict[str, Any] = {"prediction": {"type": "number"}}
        if target.interval is not None:
            properties["interval"] = _interval(target.interval.level)
        return {"type": "object", "properties": properties, "required": [*properties]}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    prediction: dict[str, Any] = {"enum": list(target.classes)}
    if target.threshold is not None:
        name = target.class_names[target.positive_code]
        prediction["description"] = (
            f"{name!r} where its probability is {target.threshold:g} or more, else the other class."
        )
    return {
        "type": "object",
        "properties": {
            "prediction": prediction,
            "probabilities": {
                "type": "object",
                "properties": dict.fromkeys(target.class_names, share),
                "required": list(target.class_names),
            },
        },
        "required": ["prediction", "probabilities"],
    }


def _interval(level: float) -> dict[str, Any]:
    return {
        "type": "array",
        "items": {"type": "number"},
        "minItems": 2,
        "maxItems": 2,
        "description": f"Lower and upper end of what holds the true value in {level:.4g} of cases.",
    }


def _plain(name: str, summary: str, media: str, *empty: int) -> dict[str, Any]:
    answer = {"description": summary, "content": {media: {}}}
    without = {str(status): {"description": "Nothing, or nothing new."} for status in empty}
    responses = {"200": answer, **without, **refusals(401, 403, 429)}
    return {"operationId": name, "summary": summary, "responses": responses}


def _open(name: str, summary: str) -> dict[str, Any]:
    """An address that is open to everybody."""
    answer = {"description": summary, "content": {"application/json": {}}}
    about = {"operationId": name, "summary": summary, "responses": {"200": answer}}
    return {**about, "security": []}


_WARNING = {
    "type": "object",
    "properties": {
        "row": {"type": "integer"},
        "column": {"type": "string"},
        "code": {"enum": ["blank", "unseen", "out_of_range", "unknown"]},
        "message": {"type": "string"},
    },
    "required": ["column", "code", "message"],
}
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "row": {"type": "integer"},
                    "column": {"type": "string"},
                    "reason": {"type": "string"},
                },
                "required": ["reason"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "request_id"],
}
