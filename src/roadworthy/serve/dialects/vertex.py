"""Vertex AI's custom containers: addresses from the environment, KServe's V1 rows.

Source: https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements. The port
(`AIP_HTTP_PORT`) is taken by the command that starts the server.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial

from roadworthy.serve.dialects._base import Servable, error_refusal
from roadworthy.serve.dialects.kserve import predict_instances
from roadworthy.serve.routes import Route, constant


class Vertex:
    """Where `AIP_HEALTH_ROUTE` and `AIP_PREDICT_ROUTE` say."""

    name = "vertex"

    def routes(self, model: Servable, *, first: bool) -> Iterable[tuple[str, Route]]:
        """The addresses that Vertex chose; none outside of it."""
        health, predict = os.environ.get("AIP_HEALTH_ROUTE"), os.environ.get("AIP_PREDICT_ROUTE")
        if first and health:
            yield health, constant(b'{"status":"healthy"}', "open")
        if first and predict:
            handler = partial(predict_instances, model)
            yield predict, Route("POST", handler, "predict", error_refusal, "AIP_PREDICT_ROUTE")
