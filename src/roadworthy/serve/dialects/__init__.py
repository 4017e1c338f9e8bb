"""Dialects: how other servers are asked and answer; one file each."""

from __future__ import annotations

from roadworthy.serve.dialects._base import Dialect, dialect_routes
from roadworthy.serve.dialects.azure import Azure
from roadworthy.serve.dialects.inference import OpenInference
from roadworthy.serve.dialects.invocations import Invocations
from roadworthy.serve.dialects.kserve import KServe
from roadworthy.serve.dialects.vertex import Vertex

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (Invocations(), OpenInference(), KServe(), Vertex(), Azure())
}
"""Name in `[serve] dialects` -> dialect."""

__all__ = ["DIALECTS", "Dialect", "dialect_routes"]
